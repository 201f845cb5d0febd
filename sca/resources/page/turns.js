// The transcript: the turns of both sides with times, the caption of what is being said, and the file of it (WebVTT).
// Times are samples of the recording, 24 kHz.

import { SPOKEN_HZ } from "./sound.js";

const MAX_TURNS = 500;
const NAMES = { you: "You", model: "Answer", server: "Server" };

export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

export class Turns {
  // get: returns an element of the page by its id. again: called with a turn that should be played again.
  constructor(get, again) {
    this.get = get;
    this.again = again;
    this.turns = [];
    this.shift = 0;  // seconds of the conversation before this recording
  }

  clear() {
    this.turns = [];
    this.shift = 0;
    this.get("text").replaceChildren();
    this.caption("");
    this.get("empty").hidden = false;
  }

  add(side, start, text = "") {
    const turn = { side, start, end: start, text, cut: false, at: this.shift + start / SPOKEN_HZ, heard: false };
    // The words of the user may arrive after the answer has begun, and belong before it.
    const later = this.turns.findIndex((other) => other.at > turn.at && other.side !== "server");
    turn.item = this.draw(turn, this.turns[later]?.item ?? null);
    this.turns.splice(later < 0 ? this.turns.length : later, 0, turn);
    while (this.turns.length > MAX_TURNS) this.turns.shift().item.remove();
    return turn;
  }

  draw(turn, next) {
    const [item, head, words] = ["li", "div", "p"].map((name) => document.createElement(name));
    item.className = turn.side;
    head.className = "head";
    words.className = "words";
    words.textContent = turn.text;
    const who = Object.assign(document.createElement("span"), { className: "who", textContent: NAMES[turn.side] });
    const time = Object.assign(document.createElement("time"), { textContent: clock(turn.at) });
    head.append(who, time);
    if (turn.side !== "server") {
      const play = Object.assign(document.createElement("button"), { className: "again", type: "button", textContent: "▶", disabled: !turn.heard });
      play.setAttribute("aria-label", `Play again: ${NAMES[turn.side]} at ${clock(turn.at)}`);
      head.append(play);
      item.onclick = () => turn.heard && !getSelection().toString() && this.again(turn);
    }
    item.append(head, words);
    this.scrolling(() => this.get("text").insertBefore(item, next));
    this.get("empty").hidden = true;
    return item;
  }

  scrolling(change) {  // stays at the end if the end is visible
    const box = this.get("scroll");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    change();
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  write(turn, text) {
    turn.text += text;
    this.scrolling(() => (turn.item.querySelector(".words").textContent = turn.text));
  }

  // The sound of a turn is known until `end`.
  until(turn, end) {
    turn.end = Math.max(turn.end, end);
    if (turn.heard || turn.end <= turn.start) return;
    turn.heard = true;
    const play = turn.item.querySelector(".again");
    if (play) play.disabled = false;
  }

  note(turn, className, text) {
    const note = Object.assign(document.createElement("p"), { className, textContent: text });
    this.scrolling(() => turn.item.append(note));
  }

  interrupted(turn) {
    turn.cut = true;
    this.note(turn, "cut", "(interrupted)");
  }

  caption(text) {
    const caption = this.get("caption");
    this.scrolling(() => {
      caption.textContent = text;
      caption.hidden = !text;
      if (text) this.get("empty").hidden = true;
    });
  }

  playing(turn, on) {
    turn.item.dataset.playing = on ? "yes" : "";
  }

  // What a reload keeps of the turns, and how to show it again.
  state() {
    return this.turns.slice(-100).map(({ side, at, text, cut }) => ({ side, at, text, cut }));
  }

  restore(turns, shift) {
    this.clear();
    for (const { side, at, text, cut } of turns) {
      this.shift = at;
      const turn = this.add(side, 0, text);
      if (cut) this.interrupted(turn);
    }
    this.shift = shift;
    this.get("scroll").scrollTop = this.get("scroll").scrollHeight;
  }

  vtt() {
    const cues = this.turns.filter((turn) => turn.heard && turn.text.trim()).map(
      ({ side, start, end, text, cut }) =>
        `${stamp(start)} --> ${stamp(end)}\n<v ${NAMES[side]}>${escaped(text)}${cut ? " …" : ""}\n`,
    );
    return new Blob([["WEBVTT\n", ...cues].join("\n")], { type: "text/vtt" });
  }
}

function escaped(text) {
  return text.trim().replaceAll(/\s+/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function stamp(samples) {
  const ms = Math.round((samples / SPOKEN_HZ) * 1000);
  const part = (value, size = 2) => String(value).padStart(size, "0");
  return `${part(Math.floor(ms / 3600000))}:${part(Math.floor(ms / 60000) % 60)}:${part(Math.floor(ms / 1000) % 60)}.${part(ms % 1000, 3)}`;
}
