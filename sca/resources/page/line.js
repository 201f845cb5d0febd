// The connection to WS /ws/pcm16. When it breaks, it is opened again after increasing pauses, and the session is resumed if the
// server still has it: messages that have not arrived are kept and sent again, here and on the server.
// Events: state, opened, resumed, sound (the announcement and its samples), message (parsed), over.

const PAUSES_S = [0.25, 0.5, 1, 2, 4, 8, 8, 8];
const NO_RETRY = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1013]);  // a deliberate close or a rejection: trying again is useless
const NEW_SESSION = 4001;  // any code that is not in NO_RETRY
const ACK_EVERY = 8;  // messages
const MAX_KEPT_BYTES = 4 << 20;  // two minutes of audio

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

  begin() {  // the state of a new session
    this.token = null;
    this.received = 0;
    this.sent = 0;
    this.kept = [];  // the latest sent messages
    this.keptBytes = 0;
    this.talking = false;
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  open() {
    this.emit("state", this.connections ? "reconnecting" : "connecting");
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
    if (this.token) return;  // the server sends `resumed` or an error
    this.begin();
    this.talking = true;
    this.send(JSON.stringify(this.settings));
    this.emit("opened", this.connections);
    this.emit("state", "listening");
  }

  read(data) {
    if (typeof data !== "string") {
      this.count();
      this.emit("sound", { ...this.announced, samples: new Int16Array(data) });
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "resumed") return this.resumed(message);
    if (message.type === "error" && message.code.startsWith("resume_")) {
      this.begin();
      return;  // the server closes next, and a new session is opened
    }
    this.count(message.type === "bye");
    if (message.received !== undefined) this.forget(message.received);
    if (message.type === "session") this.token = message.resume_token;
    else if (message.type === "audio") this.announced = message;
    else this.emit("message", message);
  }

  count(now = false) {
    this.received++;
    if (this.token && (now || this.received % ACK_EVERY === 0)) this.send(JSON.stringify({ type: "ack", received: this.received }));
  }

  resumed({ resume_token: token, received }) {
    if (received < this.sent - this.kept.length) {  // the server lacks messages that were dropped
      this.begin();
      return this.socket.close(NEW_SESSION);
    }
    this.token = token;
    this.forget(received);
    this.talking = true;
    for (const message of this.kept) this.put(message);
    this.emit("resumed", this.connections);
    this.emit("state", "listening");
  }

  forget(received) {
    while (this.kept.length && this.sent - this.kept.length < received) this.keptBytes -= size(this.kept.shift());
  }

  send(message) {
    this.sent++;
    this.put(message);
    this.kept.push(message);
    this.keptBytes += size(message);
    while (this.keptBytes > MAX_KEPT_BYTES) this.keptBytes -= size(this.kept.shift());
  }

  put(message) {  // a broken socket is closed later, and until then logs an error for each message
    if (this.talking && this.socket.readyState === WebSocket.OPEN) this.socket.send(message);
  }

  closed({ code, reason }) {
    if (this.over) return;
    const rejected = this.talking === false && reason.startsWith("resume_");
    this.talking = false;
    if ((NO_RETRY.has(code) && !rejected) || this.tries >= PAUSES_S.length) {
      this.over = true;
      this.emit("over", { code, reason: reason || (code === 1000 ? "the server ended the conversation" : `the connection broke (${code})`) });
      return;
    }
    const pause = PAUSES_S[this.tries++];
    this.emit("state", "reconnecting");
    this.timer = setTimeout(() => this.open(), pause * 1000);
  }

  hear(samples) {  // samples: Int16Array at 16 kHz. Returns whether they are, or will be, sent.
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
