// The page of `sca watch --serve`. Text of the server only becomes text nodes.
import { KeyNeeded, eventsOf, getStatus, post, respond, serverNow, setKey } from "./api.js";
import { Take, hasMicrophone } from "./microphone.js";
import { LATENCY, Picture } from "./picture.js";
import { Speech } from "./speech.js";

const STATES = { idle: "stopped", starting: "starting", running: "running", ended: "ended" };
const MOST_LINES = 200;
const byId = (id) => document.getElementById(id);
const picture = new Picture(byId("picture"), showError), speech = new Speech();
const waiting = new Map(); // by cycle: the text that is not shown yet, and when it is
let status = null, lastId = null, shownCycle = -1;
let take = null, microphone = false; // the spoken instruction that is being recorded, and whether there is a microphone

// For tests and the curious.
window.sca = { picture, speech, serverNow, captions: [], get status() { return status; }, get take() { return take; } };

function showError(error) {
  if (error instanceof KeyNeeded) {
    byId("key-form").hidden = false;
    byId("key").focus();
  }
  byId("error").textContent = error.message === "Failed to fetch" ? "the server does not respond" : error.message;
  byId("error").hidden = false;
}

async function guarded(action) {
  try {
    const result = await action();
    byId("error").hidden = true;
    return result;
  } catch (error) {
    showError(error);
    return undefined;
  }
}

const clock = (seconds) => {
  const whole = Math.floor(seconds), two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours ? `${hours}:` : ""}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
};
const seconds = (value) => (value === null || value === undefined ? "none" : `${value.toFixed(2)} s`);

// The state of the server

function options(select, values, chosen) {
  const known = [...select.options].map((option) => option.value);
  if (known.join("\n") !== values.map(([value]) => value).join("\n")) {
    select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
  }
  if (chosen !== null && document.activeElement !== select) select.value = chosen;
}

function show(next) {
  status = next;
  const active = ["running", "starting"].includes(next.state);
  byId("state").textContent = next.error ? `${STATES[next.state]}: ${next.error}` : STATES[next.state];
  byId("state").dataset.live = next.error ? "trouble" : active ? "yes" : "no";
  byId("start").textContent = active ? "Stop" : "Start";
  byId("start").dataset.running = active ? "yes" : "no";
  byId("engine-name").textContent = next.engine ?? "";
  byId("no-voice").hidden = !next.engine || next.voice;
  byId("in-force").textContent = next.instruction ? `in force: ${next.instruction}` : "that of the profile";
  byId("instruction").maxLength = next.max_instruction_chars;
  const names = next.source && !next.sources.includes(next.source) ? [...next.sources, next.source] : next.sources;
  options(byId("source"), names.map((name) => [name, name]), next.source);
  byId("source-state").textContent = next.source_state ?? "none";
  byId("profile").value = next.profile;
  byId("speak").hidden = !(next.recognizer && microphone);
  showDelay(next.delay_s);
  showCycles(next.cycles);
  if (next.last_cycle) showTimes(next.last_cycle);
}

function showDelay(delay) {
  byId("delay").textContent = seconds(delay);
}

function showCycles(cycles) {
  const parts = Object.entries(cycles).filter(([, count]) => count).map(([outcome, count]) => `${count} ${outcome}`);
  byId("cycles").textContent = parts.join(", ") || "none";
}

function showTimes(cycle) {
  byId("end-to-end").textContent = seconds(cycle.end_to_end_s);
  byId("first-text").textContent = seconds(cycle.first_text_s);
  byId("first-audio").textContent = seconds(cycle.first_audio_s);
  byId("offset").textContent = seconds(cycle.offset_s);
}

async function showProfiles() {
  const { profile, profiles } = await (await respond("api/profiles")).json();
  options(byId("profile"), Object.entries(profiles).map(([name, { title }]) => [name, title ? `${name}: ${title}` : name]), profile);
}

// Captions

// A caption is shown with its first sound; without one, with the picture that it is about.
function isDue(entry) {
  return entry.playS === null ? !entry.expectsSound && picture.timeS >= entry.aboutS : serverNow() - LATENCY >= entry.playS;
}

function showCaptions() {
  for (const [cycle, entry] of waiting) {
    if (!entry.text || !isDue(entry)) continue;
    if (!entry.line && cycle >= shownCycle) {
      shownCycle = cycle;
      entry.line = addLine(entry);
      window.sca.captions.push({ cycle, aboutS: entry.aboutS, pictureS: picture.timeS, atS: serverNow() });
    }
    if (cycle === shownCycle) byId("caption").textContent = entry.text;
    if (entry.line) entry.line.textContent = entry.text;
    if (entry.ended || cycle < shownCycle) waiting.delete(cycle);
  }
}

function addLine({ aboutS }) {
  const item = document.createElement("li"), time = document.createElement("time"), text = document.createElement("span");
  time.textContent = clock(aboutS);
  item.append(time, text);
  const log = byId("log"), box = byId("scroll");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  log.append(item);
  while (log.children.length > MOST_LINES) log.firstElementChild.remove();
  if (atEnd) box.scrollTop = box.scrollHeight;
  byId("empty").hidden = true;
  return text;
}

const HANDLERS = {
  status: show,
  text({ cycle, text, about_s }) {
    const entry = waiting.get(cycle) ?? { text: "", aboutS: about_s, playS: null, expectsSound: status.voice, ended: false, line: null };
    entry.text += text;
    waiting.set(cycle, entry);
  },
  speech({ cycle, play_s }) {
    if (waiting.has(cycle)) waiting.get(cycle).playS = play_s;
  },
  sound: (data) => speech.add(data),
  cycle_end(data) {
    const entry = waiting.get(data.cycle);
    if (entry) Object.assign(entry, { ended: true, expectsSound: false });
    if (data.outcome !== "skipped") showTimes(data);
    status.cycles[data.outcome] += 1;
    showCycles(status.cycles);
    showDelay(data.delay_s);
    if (data.outcome === "failed") showError(new Error(data.reason));
    else if (data.outcome === "spoke") byId("error").hidden = true;
  },
  source({ state, detail }) {
    byId("source-state").textContent = detail ? `${state}: ${detail}` : state;
  },
  async state({ state }) {
    if (state === "starting") {
      waiting.clear();
      shownCycle = -1;
      byId("caption").textContent = "";
    }
    await guarded(refresh);
  },
  instruction({ instruction }) {
    byId("in-force").textContent = instruction ? `in force: ${instruction}` : "that of the profile";
  },
  profile: () => guarded(showProfiles),
};

async function refresh() {
  show(await getStatus());
}

// Reads events for as long as the page is open.
async function follow() {
  for (;;) {
    try {
      const headers = lastId ? { "Last-Event-ID": lastId } : {};
      for await (const { id, name, data } of eventsOf(await respond("api/stream?sound=1", { headers }))) {
        byId("error").hidden ||= name === "status";
        lastId = id ?? lastId;
        HANDLERS[name]?.(data);
      }
    } catch (error) {
      showError(error);
      if (error instanceof KeyNeeded) return;
    }
    byId("state").textContent = "connecting again";
    byId("state").dataset.live = "trouble";
    await new Promise((done) => setTimeout(done, 1000));
  }
}

async function connect() {
  const known = await guarded(async () => {
    for (let n = 0; n < 4; n += 1) await refresh();
    await showProfiles();
    return true;
  });
  if (!known && !byId("key-form").hidden) return;
  byId("key-form").hidden = true;
  follow();
  if (!document.hidden) picture.run();
}

// What the user does

async function startOrStop() {
  const active = byId("start").dataset.running === "yes";
  byId("start").disabled = true;
  await guarded(async () => show(await post(active ? "api/stop" : "api/start", active ? {} : { source: byId("source").value || null })));
  byId("start").disabled = false;
}

async function toggleSound() {
  await guarded(() => speech.turn(!speech.on));
  byId("mute").setAttribute("aria-pressed", String(!speech.on));
  byId("mute").textContent = speech.on ? "Sound is on" : "Sound is off";
}

const instruct = (instruction) => guarded(async () => show(await post("api/instruction", { instruction })));

// Records an instruction, or ends the recording. The commentary is silent meanwhile.
async function speak() {
  if (byId("speak").hidden || byId("speak").disabled) return;
  if (take) {
    take.stop();
    return;
  }
  take = new Take(status.max_speech_s);
  await guarded(async () => {
    speech.hold(true);
    byId("speak").setAttribute("aria-pressed", "true");
    byId("speak-state").textContent = "opening the microphone";
    const sound = await take.record(() => (byId("speak-state").textContent = "listening; press again to end"));
    speech.hold(false);
    byId("speak").setAttribute("aria-pressed", "false");
    if (!sound) throw new Error("nothing was heard");
    byId("speak").disabled = true;
    byId("speak-state").textContent = "recognizing";
    const headers = { "Content-Type": "audio/pcm" };
    const response = await respond("api/instruction/speech", { method: "POST", headers, body: sound });
    byId("instruction").value = (await response.json()).instruction;
    await refresh();
  });
  take = null;
  speech.hold(false);
  byId("speak").setAttribute("aria-pressed", "false");
  byId("speak").disabled = false;
  byId("speak-state").textContent = "";
}

async function findMicrophone() {
  microphone = await hasMicrophone().catch(() => false);
  if (status) show(status);
}

const setVolume = () => speech.setVolume((byId("volume").value / 100) ** 2);
setVolume();

byId("start").addEventListener("click", startOrStop);
byId("mute").addEventListener("click", toggleSound);
byId("volume").addEventListener("input", setVolume);
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  instruct(byId("instruction").value);
});
byId("clear").addEventListener("click", () => {
  byId("instruction").value = "";
  instruct("");
});
byId("speak").addEventListener("click", speak);
navigator.mediaDevices?.addEventListener("devicechange", findMicrophone);
byId("profile").addEventListener("change", () => guarded(() => post("api/profiles", { name: byId("profile").value })));
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(byId("key").value);
  connect();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.key === "Enter" && event.target === byId("instruction")) instruct(byId("instruction").value);
  if (!event.altKey || event.repeat) return;
  const action = { KeyS: startOrStop, KeyM: toggleSound, KeyI: () => byId("instruction").focus(), KeyV: speak }[event.code];
  if (!action) return;
  event.preventDefault();
  action();
});
// A hidden page needs no pictures; speech goes on.
document.addEventListener("visibilitychange", () => (document.hidden ? picture.stop() : picture.run()));

function tick() {
  picture.draw();
  showCaptions();
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);
setInterval(() => (byId("rate").textContent = picture.rate.toFixed(1)), 1000);
setInterval(() => status && guarded(refresh), 30000);
findMicrophone();
connect();
