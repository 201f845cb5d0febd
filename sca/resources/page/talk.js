// One conversation: the audio of the browser, the connection, the recording, and which sound and text belong to which turn.
// Events: change (state, playing or paused has changed), over ({reason}).

import { Line } from "./line.js";
import { Recording } from "./recording.js";
import { HEARD_HZ } from "./resample.js";
import { SPOKEN_HZ, Sound } from "./sound.js";

const LOUD = 10 ** (-45 / 20);  // the user's speech, in the transcript and for the latency of answers
const LEAST_BLOCKS = 5;  // of 20 ms: shorter sounds are not speech
const QUIET_S = 0.5;  // the longest pause within speech
const FORGOTTEN_S = 4;  // speech without words this long ago does not belong to the next turn
const STAGES = {
  endpoint: "turn", recognizer: "text", first_token: "token", first_clause: "clause", voice: "voice", next_step: "step",
};

export class Talk extends EventTarget {
  // parts: {turns, graph, wave, inspector}; seen: the counters of the page; engine: its description.
  constructor(settings, engine, parts, seen) {
    super();
    Object.assign(this, { settings, engine, ...parts, seen });
    this.sound = new Sound();
    this.recording = new Recording();
    this.state = "starting";
    this.playing = this.muted = this.held = this.replaying = false;
    this.push = settings.push;
    this.reset();
    this.speech = null;  // {start, loud, end} of the user's current speech, in samples of the recording
    this.spoken = null;  // {start, end} of the user's speech that has no turn yet
    this.quietAt = null;  // when the user stopped speaking, ms
  }

  reset() {  // a new session: the server counts from its first sample
    this.sent = 0;
    this.blocks = [];  // {end, at}: when each sample was sent
    this.turn = null;
    this.dead = null;  // the interrupted turn: audio of it that still arrives is dropped
    this.answer = null;  // the turn whose text arrives
    this.answers = new Map();  // by turn_id
    this.timing = null;
    this.words = "";
    this.stale = false;  // after a reload the server counts samples that this page has not sent
  }

  change() {
    this.dispatchEvent(new Event("change"));
  }

  async start() {
    this.set("requesting the microphone");
    await this.sound.start(this.settings);
    const on = (target, name, call) => target.addEventListener(name, ({ detail }) => call(detail));
    on(this.sound, "heard", (detail) => this.hear(detail));
    on(this.sound, "played", (detail) => this.play(detail));
    on(this.sound, "lost", () => this.end("the microphone was removed; choose another and start again"));
    on(this.sound, "state", () => this.soundChanged());
    this.line = this.seen.line = new Line(this.settings);
    on(this.line, "state", (state) => this.set(state));
    on(this.line, "event", ({ side, message }) => this.inspector.add(side, message));
    on(this.line, "opened", (connections) => {
      this.seen.connections = connections;
      this.reset();
      this.sound.flush();
    });
    on(this.line, "resumed", (connections) => {
      this.seen.connections = connections;
      this.seen.resumed++;
      this.stale = Boolean(this.settings.resume) && connections === 1;
    });
    on(this.line, "sound", (detail) => this.receive(detail));
    on(this.line, "message", (message) => this.read(message));
    on(this.line, "over", ({ reason }) => this.end(reason));
    this.change();
  }

  set(state) {
    this.state = state;
    this.change();
  }

  get silent() {  // whether the server gets silence instead of the microphone
    return this.muted || this.replaying || (this.push && !this.held);
  }

  get text() {
    if (this.sound.paused && this.line) return "paused";
    if (this.state !== "listening") return this.state;
    const ears = this.muted ? "muted" : this.push && !this.held ? "hold to talk" : "listening";
    return this.playing ? `${ears} and speaking` : ears;
  }

  soundChanged() {
    if (!this.sound.paused) this.recording.align();
    this.change();
  }

  end(reason) {
    this.dispatchEvent(new CustomEvent("over", { detail: { reason } }));
  }

  // The user

  hear({ sound, level }) {
    if (this.silent) {
      sound.fill(0);
      level = 0;
    }
    this.follow(level);
    this.wave.set(0, level);
    this.levels?.("hear", level);
    this.recording.hear(sound);
    if (!this.line?.hear(sound)) return;
    this.sent += sound.length;
    this.seen.sent += sound.length;
    this.blocks.push({ end: this.sent, at: performance.now() });
  }

  follow(level) {
    const now = this.recording.tracks[0].samples;
    if (level >= LOUD) {
      this.speech ??= { start: now, loud: 0, end: now };
      this.speech.end = now + SPOKEN_HZ / 50;
      this.quietAt = performance.now();
      if (++this.speech.loud === LEAST_BLOCKS) this.begin(this.speech.start, now);
    } else if (this.speech && now - this.speech.end > QUIET_S * SPOKEN_HZ) {
      const { start, loud, end } = this.speech;
      this.speech = null;
      if (loud < LEAST_BLOCKS) return;
      this.spoken.end = end;
      if (!this.engine.hears_words) this.said(`spoke for ${((end - start) / SPOKEN_HZ).toFixed(1)} s`);
    }
  }

  begin(start, now) {
    if (this.spoken && !this.words && now - this.spoken.end > FORGOTTEN_S * SPOKEN_HZ) this.spoken = null;
    this.spoken ??= { start, end: now };
  }

  said(text) {
    const now = this.recording.tracks[0].samples;
    const { start, end } = this.spoken ?? { start: now, end: now };
    this.turns.until(this.turns.add("you", start, text), Math.max(end, this.speech?.end ?? 0));
    this.spoken = null;
  }

  hearWords({ text, is_final: final }) {
    this.words = final ? "" : text;
    this.turns.caption(this.words);
    if (final && text) this.said(text);
  }

  // The answer

  play({ track, level, turn, played, underruns, playing }) {
    const before = this.recording.tracks[1].samples;
    this.recording.say(track);
    const answer = this.answers.get(turn);
    if (answer) {
      if (!answer.heard) answer.start = answer.end = before;
      this.turns.until(answer, before + track.length);
    }
    this.wave.set(1, level);
    this.levels?.("say", level);
    Object.assign(this.seen, { played, underruns, time: this.sound.outputContext.currentTime });
    if (playing === this.playing) return;
    this.playing = playing;
    this.change();
  }

  newest() {
    return (this.answer ??= this.turns.add("model", this.recording.tracks[1].samples));
  }

  receive({ turn_id: turn, samples }) {
    this.seen.received += samples.length;
    if (turn === this.dead) return;
    if (turn !== this.turn) {
      this.turn = turn;
      if (this.quietAt !== null) this.graph.answered(performance.now() - this.quietAt);
      this.answers.set(turn, this.newest());
      if (this.answers.size > 20) this.answers.delete(this.answers.keys().next().value);
      if (this.timing?.turn_id === turn) this.turns.note(this.answers.get(turn), "budget", budget(this.timing));
    }
    this.sound.play(turn, samples);
  }

  read(message) {
    switch (message.type) {
      case undefined: return this.chunk(message);
      case "user_text": return this.hearWords(message);
      case "timing": return (this.timing = message);
      case "turn_end":
        this.sound.end(message.turn_id);
        return (this.answer = null);
      case "interrupt": return this.cut(message.turn_id);
      case "dropped": return this.notice(`${(message.samples / SPOKEN_HZ).toFixed(1)} s of the answer were dropped: the connection is too slow`);
      case "lag": return message.dropped_chunks && this.notice(`the server is behind: ${message.dropped_chunks} chunks of your audio were dropped`);
      case "warning": return this.notice(`this conversation ends in ${Math.round(message.seconds_left)} s (${message.reason})`);
      case "error": return (this.failed = message.message), this.change();
    }
  }

  notice(text) {
    this.turns.add("server", this.recording.tracks[0].samples, text);
  }

  chunk({ text, chunk_ms: ms, chunk_index: index }) {
    this.seen.chunks++;
    const end = ((index + 1) * ms * HEARD_HZ) / 1000;
    if (this.stale) {
      this.sent = end;
      this.blocks = [];
      this.stale = false;
    }
    while (this.blocks.length && this.blocks[0].end < end) this.blocks.shift();
    if (this.blocks.length) this.graph.add(performance.now() - this.blocks[0].at);
    if (text) this.turns.write(this.newest(), text);
  }

  cut(turn) {
    this.sound.flush();
    this.seen.interrupted++;
    this.dead = turn;
    const answer = this.answers.get(turn) ?? this.answer;
    if (answer && !answer.cut && (answer === this.answer || this.playing)) this.turns.interrupted(answer);
    this.answer = null;
  }

  interrupt() {
    if (!this.playing) return;
    this.sound.flush();
    this.dead = this.turn;
    this.line.interrupt();
  }

  // Again

  // Plays a turn from the recording. Meanwhile the server gets silence, or it would hear the turn.
  async again(turn) {
    const side = turn.side === "you" ? 0 : 1;
    this.replaying = true;
    this.turns.playing(turn, true);
    await this.sound.again(this.recording.part(side, turn.start, turn.end));
    this.turns.playing(turn, false);
    this.replaying = false;
  }

  kept() {  // for a reload of the page
    const position = this.line?.position;
    return position && { ...position, turns: this.turns.state(), elapsed: this.turns.shift + this.recording.seconds };
  }

  async stop() {
    this.line?.close();
    await this.sound.stop();
    this.turns.caption("");
  }
}

function budget({ stages_ms: stages, total_ms: total }) {
  const seconds = (ms) => (ms / 1000).toFixed(2);
  const parts = Object.entries(stages).map(([name, ms]) => `${STAGES[name] ?? name} ${seconds(ms)}`);
  return `first sound after ${seconds(total)} s: ${parts.join(" + ")}`;
}
