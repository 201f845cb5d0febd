// The page: connects a conversation with the controls and the document.

import { admission } from "./admission.js";
import { Awake } from "./awake.js";
import { Graph } from "./graph.js";
import { Inspector } from "./inspector.js";
import { save } from "./recording.js";
import { devices } from "./sound.js";
import { forget, store, stored } from "./stored.js";
import { Talk } from "./talk.js";
import { Turns } from "./turns.js";
import { Wave } from "./wave.js";

const FLOOR_DB = -60;
const STORE_MS = 1000;
const PAUSED = {
  suspended: "The browser has paused the sound.",
  interrupted: "Another program has taken the sound, such as a call.",
  muted: "The system has muted the microphone.",
};

const get = (id) => document.getElementById(id);
const awake = new Awake();
const parts = {
  graph: new Graph(get("latency"), get("latency-text")),
  wave: new Wave(get("wave")),
  inspector: new Inspector(get),
  turns: new Turns(get, (turn) => talk?.again(turn)),
};
let talk = null;
let running = false;
let admitting = false;
let engine = { hears_words: false, voices: [], resume_s: 30 };

// State for tests and for the console.
const COUNTERS = { sent: 0, received: 0, played: 0, underruns: 0, connections: 0, resumed: 0, chunks: 0, interrupted: 0 };
const seen = (window.sca = { ...COUNTERS, error: null, time: 0 });

function fail(message) {
  seen.error = message;
  get("error").textContent = message ?? "";
  get("error").hidden = !message;
}

function meter(name, level) {
  const db = level > 0 ? Math.max(FLOOR_DB, 20 * Math.log10(level)) : FLOOR_DB;
  const text = db <= FLOOR_DB ? "silent" : `${Math.round(db)} dB`;
  get(`${name}-level`).value = db;
  get(`${name}-level`).textContent = text;
  get(`${name}-db`).textContent = text;
}

// The description of the engine

function describe(found) {
  engine = found;
  get("engine-name").textContent = found.name;
  get("about-text").textContent = found.parts.length ? found.name : `${found.name}: ${found.summary}`;
  get("parts").replaceChildren(...found.parts.map(({ part, name }) => {
    const group = document.createElement("div");
    group.append(element("dt", part), element("dd", name));
    return group;
  }));
  get("examples").replaceChildren(...found.examples.map((text) => element("li", `“${text}”`)));
  get("voice").replaceChildren(new Option(found.voice ? `default (${found.voice})` : "default", ""), ...found.voices.map((voice) => new Option(voice, voice)));
  show("voice", found.voices.length > 1);
  show("persona", found.follows_prompt);
}

function element(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

function show(what, shown) {
  for (const node of document.querySelectorAll(`[data-for="${what}"]`)) node.hidden = !shown;
}

// Start and stop

async function start(kept = null) {
  fail(null);
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    return fail("the browser does not allow the microphone here; use https, or http on 127.0.0.1");
  }
  if (admitting) return;
  admitting = true;  // the button stays enabled, or it would lose the focus
  const admitted = await admission(get("key").value).finally(() => (admitting = false));
  if (admitted.message) return refuse(admitted, kept);
  if (admitted.engine.name !== engine.name) describe(admitted.engine);
  Object.assign(seen, COUNTERS);
  parts.graph.clear();
  parts.wave.clear();
  parts.inspector.clear(performance.now());
  if (kept) parts.turns.restore(kept.turns, kept.elapsed);
  else parts.turns.clear();
  talk = seen.talk = new Talk(settings(kept), engine, parts, seen);
  talk.levels = meter;
  talk.addEventListener("change", render);
  talk.addEventListener("over", ({ detail }) => stop(detail.reason));
  try {
    running = true;
    await talk.start();
    await fillDevices();
    awake.set(true);
    parts.wave.moving = true;
    render();
  } catch (error) {
    await stop(error.name === "NotAllowedError" ? "the microphone is not allowed; allow it in the browser, then start again"
      : error.name === "NotFoundError" || error.name === "OverconstrainedError" ? "the microphone was not found; choose another"
      : String(error));
  }
}

function settings(kept) {
  return {
    prompt: engine.follows_prompt ? get("prompt").value.trim() : "", voice: get("voice").value, key: get("key").value,
    microphone: get("microphone").value, speaker: get("speaker").value, raw: get("raw").checked, push: get("push").checked, resume: kept,
  };
}

function refuse({ message, key }, kept) {
  fail(kept && key ? `${message} to continue the conversation` : message);
  if (!key) return;
  get("settings-box").open = true;
  get("key").select();
}

async function stop(error = null) {
  running = false;
  forget();
  awake.set(false);
  parts.wave.moving = false;
  if (error) fail(error);
  await talk?.stop();
  meter("hear", 0);
  meter("say", 0);
  seen.recording = talk?.recording;
  render();
}

function render() {
  const text = !running ? (talk ? "stopped" : "ready") : talk.text;
  if (get("state").textContent !== text) get("state").textContent = text;
  const trouble = ["paused", "reconnecting"].includes(text);
  get("state").dataset.live = !running ? "" : trouble ? "trouble" : talk.playing ? "speaking" : "yes";
  const button = get("start");
  button.textContent = running ? "Stop" : "Start";
  button.setAttribute("aria-pressed", String(running));
  button.dataset.running = running ? "yes" : "";
  get("about").hidden = running;
  get("interrupt").disabled = !running || !talk.playing;
  get("mute").disabled = get("hold").disabled = !running;
  get("hold").hidden = !get("push").checked;
  get("mute").textContent = talk?.muted ? "Unmute" : "Mute";
  get("mute").setAttribute("aria-pressed", String(Boolean(talk?.muted)));
  get("hold").setAttribute("aria-pressed", String(Boolean(talk?.held)));
  for (const id of ["save-wav", "save-vtt"]) get(id).disabled = !talk?.recording.samples;
  const paused = running && talk.line ? talk.sound.paused : null;
  get("paused").hidden = !paused;
  const reason = PAUSED[paused] ?? "";
  if (get("paused-text").textContent !== reason) get("paused-text").textContent = reason;
  if (talk?.failed) {
    fail(talk.failed);
    talk.failed = null;
  }
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

// Controls

function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const now = document.documentElement.dataset.theme ?? system;
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  parts.graph.draw();
  parts.wave.draw();
}

function mute() {
  talk.muted = !talk.muted;
  render();
}

function push() {
  if (talk) talk.push = get("push").checked;
  render();
}

function hold(held) {
  if (!talk || talk.held === held) return;
  talk.held = held;
  render();
}

const CONTROLS = "button, a, input, select, textarea, summary, [tabindex]";

function pressed(event) {
  if (event.key === "Escape" && !get("interrupt").disabled) talk.interrupt();
  if (event.code === "Space" && running && get("push").checked && !event.target.closest(CONTROLS)) {
    event.preventDefault();
    hold(true);
  }
  const action = event.altKey && { KeyS: "start", KeyM: "mute", KeyP: "push" }[event.code];
  if (!action) return;
  event.preventDefault();
  get(action).click();
}

get("settings").onsubmit = (event) => event.preventDefault();
get("start").onclick = () => (running ? stop() : start());
get("mute").onclick = mute;
get("push").onchange = push;
get("interrupt").onclick = () => talk?.interrupt();
get("theme").onclick = theme;
get("wake").onclick = () => talk?.sound.wake();
get("save-wav").onclick = () => save(talk.recording.wav(), "conversation.wav");
get("save-vtt").onclick = () => save(parts.turns.vtt(), "conversation.vtt");
get("speaker").onchange = () => talk?.sound.speakOn(get("speaker").value).catch((error) => fail(String(error)));
get("hold").onpointerdown = () => hold(true);
get("hold").addEventListener("keydown", ({ code }) => ["Space", "Enter"].includes(code) && hold(true));  // false from onkeydown blocks Tab
for (const name of ["pointerup", "pointercancel", "keyup", "blur"]) addEventListener(name, () => hold(false));
document.addEventListener("keydown", pressed);

// The page is hidden, shown, reloaded, or the network is back

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !running || !talk.line) return;
  talk.line.hurry();
  if (talk.sound.paused) talk.sound.wake();
});
addEventListener("online", () => running && talk.line?.hurry());

function keep() {
  const kept = running && talk?.kept();
  if (kept) store(kept);
}

addEventListener("pagehide", keep);
setInterval(keep, STORE_MS);
navigator.mediaDevices?.addEventListener("devicechange", fillDevices);

async function open() {
  fillDevices();
  const admitted = await admission("");
  if (admitted.engine) describe(admitted.engine);
  else get("about-text").textContent = `the engine of this server; ${admitted.message}`;
  const kept = stored(engine.resume_s);
  if (kept) await start(kept);
}

render();
open();
