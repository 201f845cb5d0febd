// The connection: WS /ws/pcm16, opened again with growing pauses when it breaks.
// Knows the protocol, no sound and no page. Events: state, opened, sound (the announcement and its samples), message (parsed), over.

const PAUSES_S = [0.25, 0.5, 1, 2, 4, 8];
const NO_RETRY = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1013]);  // told why, or refused: asking again changes nothing

function keyProtocol(key) {
  const bytes = new TextEncoder().encode(key);
  return "sca.key." + btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export class Line extends EventTarget {
  constructor({ prompt, key }) {
    super();
    this.settings = prompt ? { prompt } : {};
    this.protocols = key ? ["sca.pcm16", keyProtocol(key)] : ["sca.pcm16"];
    this.tries = 0;
    this.over = false;
    this.announced = null;
    this.connections = 0;
    this.open();
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  open() {
    this.tell("state", this.connections ? "reconnecting" : "connecting");
    const url = new URL("ws/pcm16", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.socket = new WebSocket(url, this.protocols));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) => this.received(data);
    socket.onclose = (event) => this.closed(event);
  }

  opened() {
    this.connections++;
    this.socket.send(JSON.stringify(this.settings));
    this.tries = 0;
    this.tell("opened", this.connections);
    this.tell("state", "listening");
  }

  received(data) {
    if (typeof data !== "string") {
      this.tell("sound", { ...this.announced, samples: new Int16Array(data) });
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "audio") this.announced = message;
    else this.tell("message", message);
  }

  closed({ code, reason }) {
    if (this.over) return;
    if (NO_RETRY.has(code) || this.tries >= PAUSES_S.length) {
      this.over = true;
      this.tell("over", { code, reason: reason || (code === 1000 ? "the server ended the conversation" : `the connection broke (${code})`) });
      return;
    }
    const pause = PAUSES_S[this.tries++];
    this.tell("state", "reconnecting");
    this.timer = setTimeout(() => this.open(), pause * 1000);
  }

  get ready() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  hear(samples) {  // Int16Array at 16 kHz; returns whether it was sent
    if (!this.ready) return false;
    this.socket.send(samples);
    return true;
  }

  interrupt() {
    if (this.ready) this.socket.send(JSON.stringify({ type: "interrupt" }));
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
    this.socket.close(1000);
  }
}
