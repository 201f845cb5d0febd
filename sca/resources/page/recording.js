// The recording of both sides, kept in memory: one stereo file, the user left and the answer right, at 24 kHz.

import { HEARD_HZ, Resampler } from "./resample.js";
import { SPOKEN_HZ } from "./sound.js";

export const MAX_S = 30 * 60;

class Track {
  constructor() {
    this.pieces = [];  // {start, sound}
    this.samples = 0;
  }

  add(sound) {  // sound: Int16Array at 24 kHz. After half an hour it is dropped.
    const room = MAX_S * SPOKEN_HZ - this.samples;
    if (room <= 0 || !sound.length) return;
    this.pieces.push({ start: this.samples, sound: sound.length > room ? sound.subarray(0, room) : sound });
    this.samples += Math.min(sound.length, room);
  }

  // Copies the part [start, start + out.length) to out, with silence after the end.
  read(start, out) {
    let [low, high] = [0, this.pieces.length];
    while (low < high) {  // the first piece that ends after the start
      const middle = (low + high) >> 1;
      if (this.pieces[middle].start + this.pieces[middle].sound.length <= start) low = middle + 1;
      else high = middle;
    }
    out.fill(0);
    for (let i = low; i < this.pieces.length && this.pieces[i].start < start + out.length; i++) {
      const { start: at, sound } = this.pieces[i];
      const from = Math.max(0, start - at);
      const to = Math.min(sound.length, start + out.length - at);
      out.set(sound.subarray(from, to), at + from - start);
    }
  }
}

export class Recording {
  constructor() {
    this.tracks = [new Track(), new Track()];  // the user, the answer
    this.resampler = new Resampler(HEARD_HZ, SPOKEN_HZ);
    this.began = null;
  }

  hear(sound) {  // Int16Array at 16 kHz
    const wide = this.resampler.push(Float32Array.from(sound, (sample) => sample / 32768));
    this.tracks[0].add(Int16Array.from(wide, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767)));
    this.began ??= performance.now();
  }

  say(sound) {  // Int16Array at 24 kHz
    this.tracks[1].add(sound);
    this.began ??= performance.now();
  }

  // Adds silence to both sides up to now: after the browser has paused the sound, they would be too short.
  align() {
    if (this.began === null) return;
    const now = Math.round(((performance.now() - this.began) / 1000) * SPOKEN_HZ);
    for (const track of this.tracks) if (track.samples < now) track.add(new Int16Array(Math.min(now - track.samples, MAX_S * SPOKEN_HZ)));
  }

  get samples() {
    return Math.max(...this.tracks.map((track) => track.samples));
  }

  get seconds() {
    return this.tracks[0].samples / SPOKEN_HZ;
  }

  part(side, start, end) {  // Float32Array
    const sound = new Int16Array(Math.max(0, end - start));
    this.tracks[side].read(start, sound);
    return Float32Array.from(sound, (sample) => sample / 32768);
  }

  wav() {
    const frames = this.samples;
    const pieces = [header(frames)];
    const sides = [new Int16Array(SPOKEN_HZ), new Int16Array(SPOKEN_HZ)];
    for (let at = 0; at < frames; at += SPOKEN_HZ) {
      const size = Math.min(SPOKEN_HZ, frames - at);
      const both = new Int16Array(2 * size);
      sides.forEach((side, channel) => {
        this.tracks[channel].read(at, side);
        for (let i = 0; i < size; i++) both[2 * i + channel] = side[i];
      });
      pieces.push(both);
    }
    return new Blob(pieces, { type: "audio/wav" });
  }
}

function header(frames) {
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + 4 * frames, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 2, true);
  head.setUint32(24, SPOKEN_HZ, true);
  head.setUint32(28, 4 * SPOKEN_HZ, true);
  head.setUint16(32, 4, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, 4 * frames, true);
  return head;
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
