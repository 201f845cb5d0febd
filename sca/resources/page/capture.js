// The audio of the microphone as int16 at 16 kHz in blocks of 20 ms, with the level of each block.

import { HEARD_HZ, Resampler } from "./resample.js";

const BLOCK = HEARD_HZ / 50;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.block = new Int16Array(BLOCK);
    this.filled = 0;
    this.energy = 0;
  }

  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) return true;
    let mono = channels[0];
    if (channels.length > 1) {
      mono = mono.map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
    }
    for (const sample of this.resampler.push(mono)) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.energy += clipped * clipped;
      this.block[this.filled++] = Math.round(clipped * 32767);
      if (this.filled === BLOCK) this.send();
    }
    return true;
  }

  send() {
    const sound = this.block.slice();
    this.port.postMessage({ sound, level: Math.sqrt(this.energy / BLOCK) }, [sound.buffer]);
    this.filled = 0;
    this.energy = 0;
  }
}

registerProcessor("capture", Capture);
