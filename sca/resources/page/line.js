// The connection to WS /ws/pcm16. When it breaks, or sent audio gets no reply for 3 s, it is opened again after increasing pauses,
// and the session is resumed if the server still has it: messages that have not arrived are kept and sent again, here and on the
// server. A page that was reloaded resumes without its own messages.
// Events: state, opened, resumed, sound (the announcement and its samples), message (parsed), event ({side, message}), over.

const PAUSES_S = [0.25, 0.5, 1, 2, 4, 8, 8, 8];
const NO_RETRY = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1013]);  // a deliberate close or a rejection: trying again is useless
const NEW_SESSION = 4001;  // any code that is not in NO_RETRY
const BROKEN = 1006;
const ACK_EVERY = 8;  // messages
const MAX_KEPT_BYTES = 4 << 20;  // two minutes of audio
const DEAD_MS = 3000;  // without a reply to sent audio
const MAX_DEAD_MS = 24000;  // doubled up to this while reconnecting does not bring replies: then the engine is slow, not the line

function keyProtocol(key) {
  const bytes = new TextEncoder().encode(key);
  return "sca.key." + btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export class Line extends EventTarget {
  // resume: {token, received} of the session before a reload of the page, or null.
  constructor({ prompt, voice, key, resume }) {
    super();
    this.settings = { ...(prompt && { prompt }), ...(voice && { voice }), resume: true };
    this.protocols = key ? ["sca.pcm16", keyProtocol(key)] : ["sca.pcm16"];
    this.tries = 0;
    this.over = false;
    this.announced = null;
    this.connections = 0;
    this.patience = DEAD_MS;
    this.timer = null;  // of the next attempt
    this.begin();
    this.reloaded = Boolean(resume);
    if (resume) Object.assign(this, { token: resume.token, received: resume.received });
    this.open();
    this.watcher = setInterval(() => this.watch(), 250);
  }

  begin() {  // the state of a new session
    this.token = null;
    this.received = 0;
    this.sent = 0;
    this.kept = [];  // the latest sent messages
    this.keptBytes = 0;
    this.talking = false;
    this.waitingSince = null;  // when the oldest audio without a reply was sent, ms
  }

  // How a page that is reloaded can resume; null if it cannot.
  get position() {
    return this.token && !this.over ? { token: this.token, received: this.received } : null;
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
    this.openedAt = performance.now();
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) => this.read(data);
    socket.onclose = (event) => this.closed(event);
  }

  opened() {
    this.connections++;
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
      this.emit("event", { side: "received", message: data.byteLength / 2 });
      this.emit("sound", { ...this.announced, samples: new Int16Array(data) });
      return;
    }
    const message = JSON.parse(data);
    this.emit("event", { side: "received", message });
    if (message.type === "resumed") return this.resumed(message);
    if (message.type === "error" && message.code.startsWith("resume_")) {
      if (this.reloaded) {
        this.close();
        return this.emit("over", { code: 1008, reason: "the conversation before the reload has ended" });
      }
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
    this.tries = 0;
    this.waitingSince = null;
    this.patience = DEAD_MS;
    if (this.token && (now || this.received % ACK_EVERY === 0)) this.send(JSON.stringify({ type: "ack", received: this.received }));
  }

  resumed({ resume_token: token, received }) {
    if (this.reloaded) {  // the server has what it has: this page continues after it
      this.sent = received + this.kept.length;
      this.reloaded = false;
    }
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
    if (!this.talking || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(message);
    const audio = typeof message !== "string";
    if (audio) this.waitingSince ??= performance.now();
    this.emit("event", { side: "sent", message: audio ? message.length : JSON.parse(message) });
  }

  // A dead line does not close: the browser waits for minutes until the connection times out.
  watch() {
    const since = this.talking ? this.waitingSince : this.openedAt;
    if (this.over || this.timer || since === null || performance.now() - since < this.patience) return;
    this.patience = Math.min(MAX_DEAD_MS, 2 * this.patience);
    this.abandon();
    this.closed({ code: BROKEN, reason: "" });
  }

  // Ignores the socket from now on. It is not closed: a close that arrives would end the session, which another socket resumes.
  // The server closes it then.
  abandon() {
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState === WebSocket.CONNECTING || !this.token) socket.close();
  }

  // Reconnects at once if a retry is due later: the network, or the page, is back.
  hurry() {
    if (this.over || !this.timer) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.open();
  }

  closed({ code, reason }) {
    if (this.over) return;
    this.waitingSince = null;
    const rejected = this.talking === false && reason.startsWith("resume_");
    this.talking = false;
    if ((NO_RETRY.has(code) && !rejected) || this.tries >= PAUSES_S.length) {
      this.over = true;
      clearInterval(this.watcher);
      this.emit("over", { code, reason: reason || (code === 1000 ? "the server ended the conversation" : `the connection broke (${code})`) });
      return;
    }
    const pause = PAUSES_S[this.tries++];
    this.emit("state", "reconnecting");
    this.timer = setTimeout(() => {
      this.timer = null;
      this.open();
    }, pause * 1000);
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
    clearInterval(this.watcher);
    this.socket.close(1000);
  }
}

function size(message) {
  return message.byteLength ?? message.length;
}
