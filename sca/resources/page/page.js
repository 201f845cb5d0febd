// The page: puts the connection, the sound and what is seen together.

import { refusal } from "./admission.js";
import { Graph } from "./graph.js";
import { Line } from "./line.js";
import { SAID_HZ, Sound, devices } from "./sound.js";
import { Track } from "./tracks.js";

const HEARD_HZ = 16000;
const LOUD = 10 ** (-45 / 20);  // what counts as the user's speech in the text, and for the time until an answer begins
const QUIET_BLOCKS = 25;  // of 20 ms: as long may a pause be
const MOST_LINES = 500;
const FLOOR_DB = -60;

const get = (id) => document.getElementById(id);
const graph = new Graph(get("latency"), get("latency-words"));
let talk = null;

// What tests, and the curious in the console, may look at.
const seen = (window.sca = { sent: 0, received: 0, played: 0, underruns: 0, connections: 0, resumed: 0, chunks: 0, interrupted: 0, error: null, time: 0 });

function state(words) {
  get("state").textContent = words;
}

function fail(words) {
  seen.error = words;
  get("error").textContent = words ?? "";
  get("error").hidden = !words;
}

function line(who, what, kind = "") {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = talk ? clock(talk.heard.samples / HEARD_HZ) : "";
  const name = document.createElement("span");
  name.className = "who";
  name.textContent = `${who}: `;
  item.className = kind;
  item.append(time, name, what);
  const list = get("text");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.children.length > MOST_LINES) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  return item;
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function meter(name, level) {
  const db = level > 0 ? Math.max(FLOOR_DB, 20 * Math.log10(level)) : FLOOR_DB;
  const words = db <= FLOOR_DB ? "silent" : `${Math.round(db)} dB`;
  get(`${name}-level`).value = db;
  get(`${name}-level`).textContent = words;
  get(`${name}-db`).textContent = words;
}

class Talk {
  constructor(settings) {
    this.settings = settings;
    this.sound = new Sound();
    this.heard = new Track(HEARD_HZ);
    this.said = new Track(SAID_HZ);
    this.reset();
    this.speech = null;  // {start, loud}: of what the user says, in samples
    this.quietAt = null;  // when the user fell silent, ms
    this.playing = false;
  }

  reset() {  // a new connection: the server counts from its first sample
    this.sent = 0;
    this.blocks = [];  // {end, at}: when which sample was sent
    this.chunks = 0;
    this.turn = null;
    this.dead = null;  // the turn that was cut off here: what still comes of it is stale
    this.answer = null;
  }

  async start() {
    state("asking for the microphone");
    await this.sound.start(this.settings);
    this.sound.addEventListener("heard", ({ detail }) => this.hear(detail));
    this.sound.addEventListener("played", ({ detail }) => this.play(detail));
    this.sound.addEventListener("lost", () => stop("the microphone is gone; choose another and start again"));
    this.line = seen.line = new Line(this.settings);
    this.line.addEventListener("state", ({ detail }) => this.say(detail));
    this.line.addEventListener("opened", ({ detail }) => {
      seen.connections = detail;
      this.reset();
      this.sound.flush();
    });
    this.line.addEventListener("resumed", ({ detail }) => {
      seen.connections = detail;
      seen.resumed++;
    });
    this.line.addEventListener("sound", ({ detail }) => this.receive(detail));
    this.line.addEventListener("message", ({ detail }) => this.read(detail));
    this.line.addEventListener("over", ({ detail }) => stop(detail.reason));
    await fillDevices();
  }

  say(what) {
    this.state = what;
    state(this.playing && what === "listening" ? "listening and speaking" : what);
  }

  hear({ sound, level }) {
    this.follow(level);
    meter("hear", level);
    this.heard.add(sound);
    if (!this.line.hear(sound)) return;
    this.sent += sound.length;
    seen.sent += sound.length;
    this.blocks.push({ end: this.sent, at: performance.now() });
  }

  follow(level) {
    const now = this.heard.samples;
    if (level >= LOUD) {
      this.speech ??= { start: now, loud: 0, end: now };
      this.speech.loud++;
      this.speech.end = now;
      this.quietAt = performance.now();
    } else if (this.speech && now - this.speech.end > QUIET_BLOCKS * 320) {
      const seconds = (this.speech.end - this.speech.start) / HEARD_HZ;
      if (this.speech.loud >= 5) line("You", `spoke for ${seconds.toFixed(1)} s`, "you");
      this.speech = null;
    }
  }

  play({ track, level, played, underruns, playing }) {
    this.said.add(track);
    meter("say", level);
    seen.played = played;
    seen.underruns = underruns;
    seen.time = this.sound.mouth.currentTime;
    if (playing === this.playing) return;
    this.playing = playing;
    get("interrupt").disabled = !playing;
    this.say(this.state);
  }

  receive({ turn_id: turn, samples }) {
    seen.received += samples.length;
    if (turn === this.dead) return;
    if (turn !== this.turn) {
      this.turn = turn;
      if (this.quietAt !== null) graph.answered(performance.now() - this.quietAt);
    }
    this.sound.play(turn, samples);
  }

  write(text) {
    this.answer ??= line("Answer", "", "answer");
    this.answer.append(text);
  }

  read(message) {
    switch (message.type) {
      case undefined: return this.chunk(message);
      case "turn_end": return this.end(message.turn_id);
      case "interrupt": return this.cut(message.turn_id);
      case "dropped": return line("Server", `${(message.samples / SAID_HZ).toFixed(1)} s of the answer were left out: the connection is too slow`, "cut");
      case "warning": return line("Server", `this conversation ends in ${Math.round(message.seconds_left)} s (${message.reason})`, "cut");
      case "error": return fail(message.message);
    }
  }

  end(turn) {
    this.sound.end(turn);
    this.answer = null;
  }

  chunk({ text, chunk_ms: ms, chunk_index: index }) {
    seen.chunks++;
    this.chunks = index + 1;
    const end = (this.chunks * ms * HEARD_HZ) / 1000;
    while (this.blocks.length && this.blocks[0].end < end) this.blocks.shift();
    if (this.blocks.length) graph.add(performance.now() - this.blocks[0].at);
    if (text) this.write(text);
  }

  cut(turn) {
    this.sound.flush();
    seen.interrupted++;
    this.dead = turn;
    if (this.answer) this.answer.append(" ", Object.assign(document.createElement("em"), { className: "cut", textContent: "(cut off)" }));
    this.answer = null;
  }

  interrupt() {
    if (!this.playing) return;
    this.sound.flush();
    this.dead = this.turn;
    this.line.interrupt();
  }

  async stop() {
    this.line?.close();
    await this.sound.stop();
  }
}

async function start() {
  fail(null);
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    return fail("this browser gives no microphone here; use https, or http on 127.0.0.1");
  }
  get("start").disabled = true;
  const refused = await refusal(get("key").value);
  if (refused) {
    get("start").disabled = false;
    fail(refused.words);
    if (refused.key) askForKey();
    return undefined;
  }
  get("text").replaceChildren();
  graph.clear();
  Object.assign(seen, { sent: 0, received: 0, played: 0, underruns: 0, connections: 0, resumed: 0, chunks: 0, interrupted: 0 });
  talk = new Talk({
    prompt: get("prompt").value.trim(), key: get("key").value, microphone: get("microphone").value,
    speaker: get("speaker").value, raw: get("raw").checked,
  });
  try {
    await talk.start();
    button(true);
  } catch (error) {
    await stop(error.name === "NotAllowedError" ? "the microphone is not allowed; allow it in the browser, then start again"
      : error.name === "NotFoundError" || error.name === "OverconstrainedError" ? "there is no such microphone; choose another"
      : String(error));
  }
}

function askForKey() {
  get("key").closest("details").open = true;
  get("key").select();
}

async function stop(why = null) {
  button(false);
  state("stopped");
  if (why) fail(why);
  await talk?.stop();
  meter("hear", 0);
  meter("say", 0);
  get("interrupt").disabled = true;
  get("save-heard").disabled = !talk?.heard.samples;
  get("save-said").disabled = !talk?.said.samples;
  seen.tracks = talk && { heard: talk.heard, said: talk.said };
  get("start").disabled = false;
}

function button(running) {
  get("start").disabled = false;
  get("start").textContent = running ? "Stop" : "Start";
  get("start").setAttribute("aria-pressed", String(running));
  get("start").dataset.running = running ? "yes" : "";
  if (running) get("save-heard").disabled = get("save-said").disabled = true;
}

async function fillDevices() {
  for (const [id, kind] of [["microphone", "audioinput"], ["speaker", "audiooutput"]]) {
    const select = get(id);
    const chosen = select.value;
    const found = await devices(kind);
    select.replaceChildren(new Option("default", ""), ...found.map((one, i) => new Option(one.label || `${id} ${i + 1}`, one.deviceId)));
    select.value = found.some((one) => one.deviceId === chosen) ? chosen : "";
    if (id === "speaker") select.disabled = !("setSinkId" in AudioContext.prototype);
  }
}

function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const now = document.documentElement.dataset.theme ?? system;
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  graph.draw();
}

get("settings").onsubmit = (event) => event.preventDefault();
get("start").onclick = () => (get("start").dataset.running ? stop() : start());
get("interrupt").onclick = () => talk?.interrupt();
get("theme").onclick = theme;
get("save-heard").onclick = () => talk.heard.save("you.wav");
get("save-said").onclick = () => talk.said.save("answer.wav");
get("speaker").onchange = () => talk?.sound.speakOn(get("speaker").value).catch((error) => fail(String(error)));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !get("interrupt").disabled) talk.interrupt();
  if (event.altKey && event.code === "KeyS") {
    event.preventDefault();
    get("start").click();
  }
});
navigator.mediaDevices?.addEventListener("devicechange", fillDevices);
fillDevices();
