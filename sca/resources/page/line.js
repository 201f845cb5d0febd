// The connection: WS /ws/pcm16, opened again with growing pauses when it breaks. The conversation goes on where it was, if the server
// still has it: what was sent and has not arrived is kept here and sent again, and the server does the same.
// Knows the protocol, no sound and no page. Events: state, opened, resumed, sound (the announcement and its samples),
// message (parsed), over.

const PAUSES_S = [0.25, 0.5, 1, 2, 4, 8, 8, 8];
const NO_RETRY = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1013]);  // told why, or refused: asking again changes nothing
const ANEW = 4001;  // any code that is no reason to stay away
const ACK_EVERY = 8;  // messages
const MOST_KEPT_BYTES = 4 << 20;  // two minutes of sound

function keyProtocol(key) {
  const bytes = new TextEncoder().encode(key);
  return "sca.key." + btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export class Line extends EventTarget {
  constructor({ prompt, key }) {
    super();
    this.settings = prompt ? { prompt, resume: true } : { resume: true };
    this.protocols = key ? ["sca.pcm16", keyProtocol(key)] : ["sca.pcm16"];
    this.tries = 0;
    this.over = false;
    this.announced = null;
    this.connections = 0;
    this.begin();
    this.open();
  }

  begin() {  // a new session, in which nothing was said
    this.token = null;
    this.received = 0;
    this.sent = 0;
    this.kept = [];  // the last of what was sent
    this.keptBytes = 0;
    this.talking = false;
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  open() {
    this.tell("state", this.connections ? "reconnecting" : "connecting");
    const url = new URL("ws/pcm16", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const offers = this.token ? [...this.protocols, `sca.resume.${this.token}.${this.received}`] : this.protocols;
    const socket = (this.socket = new WebSocket(url, offers));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) => this.read(data);
    socket.onclose = (event) => this.closed(event);
  }

  opened() {
    this.connections++;
    this.tries = 0;
    if (this.token) return;  // the server says how to go on
    this.begin();
    this.talking = true;
    this.send(JSON.stringify(this.settings));
    this.tell("opened", this.connections);
    this.tell("state", "listening");
  }

  read(data) {
    if (typeof data !== "string") {
      this.count();
      this.tell("sound", { ...this.announced, samples: new Int16Array(data) });
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "resumed") return this.resumed(message);
    if (message.type === "error" && message.code.startsWith("resume_")) {
      this.begin();
      return;  // the close that comes next opens a new session
    }
    this.count(message.type === "bye");
    if (message.received !== undefined) this.forget(message.received);
    if (message.type === "session") this.token = message.resume_token;
    else if (message.type === "audio") this.announced = message;
    else this.tell("message", message);
  }

  count(now = false) {
    this.received++;
    if (this.token && (now || this.received % ACK_EVERY === 0)) this.send(JSON.stringify({ type: "ack", received: this.received }));
  }

  resumed({ resume_token: token, received }) {
    if (received < this.sent - this.kept.length) {  // it lacks what is not kept any more
      this.begin();
      return this.socket.close(ANEW);
    }
    this.token = token;
    this.forget(received);
    this.talking = true;
    for (const message of this.kept) this.put(message);
    this.tell("resumed", this.connections);
    this.tell("state", "listening");
  }

  forget(received) {
    while (this.kept.length && this.sent - this.kept.length < received) this.keptBytes -= size(this.kept.shift());
  }

  send(message) {
    this.sent++;
    this.put(message);
    this.kept.push(message);
    this.keptBytes += size(message);
    while (this.keptBytes > MOST_KEPT_BYTES) this.keptBytes -= size(this.kept.shift());
  }

  put(message) {  // a socket that breaks says so only later, and complains until then
    if (this.talking && this.socket.readyState === WebSocket.OPEN) this.socket.send(message);
  }

  closed({ code, reason }) {
    if (this.over) return;
    const refused = this.talking === false && reason.startsWith("resume_");
    this.talking = false;
    if ((NO_RETRY.has(code) && !refused) || this.tries >= PAUSES_S.length) {
      this.over = true;
      this.tell("over", { code, reason: reason || (code === 1000 ? "the server ended the conversation" : `the connection broke (${code})`) });
      return;
    }
    const pause = PAUSES_S[this.tries++];
    this.tell("state", "reconnecting");
    this.timer = setTimeout(() => this.open(), pause * 1000);
  }

  hear(samples) {  // Int16Array at 16 kHz; returns whether it is, or will be, sent
    if (!this.talking && !this.token) return false;
    this.send(samples);
    return true;
  }

  interrupt() {
    if (this.talking || this.token) this.send(JSON.stringify({ type: "interrupt" }));
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
    this.socket.close(1000);
  }
}

function size(message) {
  return message.byteLength ?? message.length;
}
