// The speech: samples of `sound` events, played at the time that the server gives them.
import { serverNow } from "./api.js";
import { LATENCY } from "./picture.js";

const LATE_S = 0.5, JOIN_S = 0.05;

export class Speech {
  constructor() {
    Object.assign(this, { context: null, gain: null, on: false, held: false, volume: 0.8, end: 0, cycle: -1, played: 0 });
  }

  // A browser allows sound only after the user has asked for it.
  async turn(on) {
    this.on = on;
    if (on && !this.context) {
      this.context = new AudioContext();
      this.gain = this.context.createGain();
      this.gain.connect(this.context.destination);
    }
    if (on) await this.context.resume();
    this.setVolume(this.volume);
  }

  // Silent while the microphone is in use.
  hold(held) {
    this.held = held;
    this.setVolume(this.volume);
  }

  setVolume(volume) {
    this.volume = volume;
    this.gain?.gain.setTargetAtTime(this.on && !this.held ? volume : 0, this.context.currentTime, 0.02);
  }

  add({ cycle, play_s, rate, pcm }) {
    const context = this.context;
    if (!context || context.state !== "running") return;
    const bytes = Uint8Array.from(atob(pcm), (letter) => letter.charCodeAt(0));
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (value) => value / 32768);
    if (!samples.length) return;
    const buffer = context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    let at = context.currentTime + play_s + LATENCY - (context.outputLatency || 0) - serverNow();
    // Samples of an utterance follow each other without a gap.
    if (cycle === this.cycle && Math.abs(at - this.end) < JOIN_S) at = this.end;
    if (at < context.currentTime - LATE_S) return;
    const node = new AudioBufferSourceNode(context, { buffer });
    node.connect(this.gain);
    at = Math.max(at, context.currentTime);
    node.start(at);
    Object.assign(this, { cycle, end: at + buffer.duration });
    this.played += 1;
  }
}
