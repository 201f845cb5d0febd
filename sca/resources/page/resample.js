// Resamples any rate to 16 kHz, block by block: a windowed-sinc low-pass filter evaluated at the times of the new samples.
// The samples do not depend on how the blocks are cut. The delay of the filter is compensated.

export const HEARD_HZ = 16000;
const CROSSINGS = 24;  // zero crossings on each side: -80 dB outside the band with this window
const BETA = 8;  // of the Kaiser window
const PASS = 0.94;  // of the narrower band

function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-10 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

export class Resampler {
  // fromHz: an integer.
  constructor(fromHz, toHz = HEARD_HZ) {
    const divisor = gcd(fromHz, toHz);
    this.up = toHz / divisor;
    this.down = fromHz / divisor;
    const cutoff = PASS * Math.min(1, toHz / fromHz);  // 1 is half of fromHz
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.taps = new Map();  // by phase, computed on first use
    this.cutoff = cutoff;
    this.held = new Float32Array(this.half);  // silence before the first sample
    this.start = -this.half;  // the position of held[0], in samples at fromHz
    this.made = 0;
  }

  phase(rest) {  // rest / up: the offset of the new sample after an old one
    let taps = this.taps.get(rest);
    if (taps) return taps;
    taps = new Float32Array(2 * this.half);
    let sum = 0;
    for (let i = 0; i < taps.length; i++) {
      const x = i - this.half + 1 - rest / this.up;
      const r = x / this.half;
      const window = Math.abs(r) >= 1 ? 0 : bessel(BETA * Math.sqrt(1 - r * r)) / bessel(BETA);
      taps[i] = window * (x === 0 ? this.cutoff : Math.sin(Math.PI * this.cutoff * x) / (Math.PI * x));
      sum += taps[i];
    }
    for (let i = 0; i < taps.length; i++) taps[i] /= sum;
    this.taps.set(rest, taps);
    return taps;
  }

  push(block) {  // block: Float32Array of any length. Returns the samples that are complete.
    if (this.up === this.down) return block.slice();
    const held = new Float32Array(this.held.length + block.length);
    held.set(this.held);
    held.set(block, this.held.length);
    const out = [];
    for (;;) {
      const at = this.made * this.down;
      const whole = Math.floor(at / this.up);
      const first = whole - this.half + 1 - this.start;
      if (first + 2 * this.half > held.length) break;
      const taps = this.phase(at % this.up);
      let sum = 0;
      for (let i = 0; i < taps.length; i++) sum += taps[i] * held[first + i];
      out.push(sum);
      this.made++;
    }
    const next = Math.floor((this.made * this.down) / this.up) - this.half + 1;
    const drop = Math.max(0, Math.min(held.length, next - this.start));
    this.held = held.slice(drop);
    this.start += drop;
    return Float32Array.from(out);
  }
}
