// The list of protocol events: their times, a filter, copy. Sent audio is one event for each second, because it is 50 messages.

const MAX_EVENTS = 2000, MAX_ROWS = 300;
const HIDDEN = new Set(["resume_token"]);  // secrets, which a copy should not contain

export class Inspector {
  constructor(get) {
    this.get = get;
    this.box = get("events-box");
    this.events = [];
    this.due = false;
    this.began = performance.now();
    for (const id of ["event-filter", "event-side"]) get(id).addEventListener("input", () => this.show());
    this.box.addEventListener("toggle", () => this.show());
    get("event-clear").onclick = () => this.clear();
    get("event-copy").onclick = () => this.copy();
  }

  clear(began = this.began) {
    this.events = [];
    this.began = began;
    this.note("");
    this.show();
  }

  // message: an object, or the number of audio samples.
  add(side, message) {
    const at = (performance.now() - this.began) / 1000;
    const last = this.events[this.events.length - 1];
    if (typeof message === "number") {
      if (side === "sent" && last?.audio && last.side === side && at - last.at < 1) {
        last.message.samples += message;
        last.message.messages++;
        return this.later();
      }
      this.events.push({ at, side, audio: true, message: { type: "(audio)", samples: message, messages: 1 } });
    } else {
      this.events.push({ at, side, audio: false, message: { type: message.type ?? "(reply)", ...message } });
    }
    if (this.events.length > MAX_EVENTS) this.events.splice(0, this.events.length - MAX_EVENTS);
    this.later();
  }

  later() {  // at most one drawing for each frame, and none while the list is closed
    if (this.due || !this.box.open) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.show();
    });
  }

  visible() {
    const [text, side] = [this.get("event-filter").value.trim().toLowerCase(), this.get("event-side").value];
    return this.events.filter((event) => (!side || event.side === side) && (!text || json(event).toLowerCase().includes(text)));
  }

  show() {
    if (!this.box.open) return;
    const found = this.visible();
    const list = this.get("events");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.replaceChildren(...found.slice(-MAX_ROWS).map(row));
    if (atEnd) list.scrollTop = list.scrollHeight;
    const cut = found.length > MAX_ROWS ? `, the latest ${MAX_ROWS} are listed` : "";
    this.get("event-count").textContent = `${found.length} of ${this.events.length} events${cut}`;
  }

  note(text) {
    this.get("event-note").textContent = text && `(${text})`;
  }

  async copy() {
    const found = this.visible();
    try {
      await navigator.clipboard.writeText(found.map((event) => `${json(event)}\n`).join(""));
      this.note(`${found.length} copied, as JSON lines`);
    } catch {
      this.note("the browser does not allow copying here");
    }
  }
}

function json({ at, side, message }) {
  return JSON.stringify({ at: Number(at.toFixed(3)), side, ...message }, (name, value) => (HIDDEN.has(name) && value ? "…" : value));
}

function row(event) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = event.at.toFixed(3);
  const side = document.createElement("span");
  side.className = event.side;
  side.textContent = event.side === "sent" ? "↑" : "↓";
  side.title = event.side;
  const { at: _, side: __, ...message } = JSON.parse(json(event));
  const { type, ...rest } = message;
  const text = document.createElement("span");
  const name = document.createElement("b");
  name.textContent = type;
  text.append(name, ` ${Object.entries(rest).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(" ")}`);
  item.append(time, side, text);
  return item;
}
