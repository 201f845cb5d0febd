// The page: connects the WebSocket, the audio and the document.

import { rejection } from "./admission.js";
import { Graph } from "./graph.js";
import { Line } from "./line.js";
import { SPOKEN_HZ, Sound, devices } from "./sound.js";
import { Track } from "./tracks.js";

const HEARD_HZ = 16000;
const LOUD = 10 ** (-45 / 20);  // the user's speech, in the transcript and for the latency of answers
const QUIET_BLOCKS = 25;  // of 20 ms: the longest pause within speech
const MAX_LINES = 500;
const FLOOR_DB = -60;

const get = (id) => document.getElementById(id);
const graph = new Graph(get("latency"), get("latency-text"));
let talk = null;

// State for tests and for the console.
const seen = (window.sca = { sent: 0, received: 0, played: 0, underruns: 0, connections: 0, resumed: 0, chunks: 0, interrupted: 0, error: null, time: 0 });

function showState(text) {
  get("state").textContent = text;
}

function fail(message) {
  seen.error = message;
  get("error").textContent = message ?? "";
  get("error").hidden = !message;
}

function addLine(speaker, text, kind = "") {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = talk ? clock(talk.heard.samples / HEARD_HZ) : "";
  const name = document.createElement("span");
  name.className = "who";
  name.textContent = `${speaker}: `;
  item.className = kind;
  item.append(time, name, text);
  const list = get("text");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.children.length > MAX_LINES) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  return item;
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function meter(name, level) {
  const db = level > 0 ? Math.max(FLOOR_DB, 20 * Math.log10(level)) : FLOOR_DB;
  const text = db <= FLOOR_DB ? "silent" : `${Math.round(db)} dB`;
  get(`${name}-level`).value = db;
  get(`${name}-level`).textContent = text;
  get(`${name}-db`).textContent = text;
}

class Talk {
  constructor(settings) {
    this.settings = settings;
    this.sound = new Sound();
    this.heard = new Track(HEARD_HZ);
    this.said = new Track(SPOKEN_HZ);
    this.reset();
    this.speech = null;  // {start, loud, end} of the user's current speech, in samples
    this.quietAt = null;  // when the user stopped speaking, ms
    this.playing = false;
  }

  reset() {  // a new session: the server counts from its first sample
    this.sent = 0;
    this.blocks = [];  // {end, at}: when each sample was sent
    this.chunks = 0;
    this.turn = null;
    this.dead = null;  // the interrupted turn: audio of it that still arrives is dropped
    this.answer = null;
  }

  async start() {
    showState("requesting the microphone");
    await this.sound.start(this.settings);
    this.sound.addEventListener("heard", ({ detail }) => this.hear(detail));
    this.sound.addEventListener("played", ({ detail }) => this.play(detail));
    this.sound.addEventListener("lost", () => stop("the microphone was removed; choose another and start again"));
    this.line = seen.line = new Line(this.settings);
    this.line.addEventListener("state", ({ detail }) => this.showState(detail));
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

  showState(text) {
    this.state = text;
    showState(this.playing && text === "listening" ? "listening and speaking" : text);
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
      if (this.speech.loud >= 5) addLine("You", `spoke for ${seconds.toFixed(1)} s`, "you");
      this.speech = null;
    }
  }

  play({ track, level, played, underruns, playing }) {
    this.said.add(track);
    meter("say", level);
    seen.played = played;
    seen.underruns = underruns;
    seen.time = this.sound.outputContext.currentTime;
    if (playing === this.playing) return;
    this.playing = playing;
    get("interrupt").disabled = !playing;
    this.showState(this.state);
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
    this.answer ??= addLine("Answer", "", "answer");
    this.answer.append(text);
  }

  read(message) {
    switch (message.type) {
      case undefined: return this.chunk(message);
      case "user_text": return this.showQuestion(message);
      case "turn_end": return this.end(message.turn_id);
      case "interrupt": return this.cut(message.turn_id);
      case "dropped": return addLine("Server", `${(message.samples / SPOKEN_HZ).toFixed(1)} s of the answer were dropped: the connection is too slow`, "cut");
      case "warning": return addLine("Server", `this conversation ends in ${Math.round(message.seconds_left)} s (${message.reason})`, "cut");
      case "error": return fail(message.message);
    }
  }

  showQuestion({ text, is_final: final }) {
    if (!text && !this.question) return;
    this.question ??= addLine("You", "", "question");
    this.question.lastChild.remove();
    this.question.append(text);
    if (final) this.question = null;
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
    if (this.answer) this.answer.append(" ", Object.assign(document.createElement("em"), { className: "cut", textContent: "(interrupted)" }));
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
    return fail("the browser does not allow the microphone here; use https, or http on 127.0.0.1");
  }
  get("start").disabled = true;
  const rejected = await rejection(get("key").value);
  if (rejected) {
    get("start").disabled = false;
    fail(rejected.message);
    if (rejected.key) askForKey();
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
      : error.name === "NotFoundError" || error.name === "OverconstrainedError" ? "the microphone was not found; choose another"
      : String(error));
  }
}

function askForKey() {
  get("key").closest("details").open = true;
  get("key").select();
}

async function stop(error = null) {
  button(false);
  showState("stopped");
  if (error) fail(error);
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
    select.replaceChildren(new Option("default", ""), ...found.map((device, i) => new Option(device.label || `${id} ${i + 1}`, device.deviceId)));
    select.value = found.some((device) => device.deviceId === chosen) ? chosen : "";
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
