// Plays the answer, int16 at the context's rate, without gaps: after silence it waits a little, to compensate for late packets.
// A gap inside a turn increases the wait by the duration of the gap, and a turn without a gap decreases it.
// Input: {sound, turn}, {end: turn}, {flush: true}. Output, every 50 ms: the played audio with silence, its level, the turn that is
// being played (null: none), the counters.

const MIN_S = 0.08, MAX_S = 0.6, FADE = 96;

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.at = 0;  // position in queue[0]
    this.wait = MIN_S * sampleRate;
    this.left = 0;  // samples of silence before the queue is played
    this.turn = null;
    this.open = false;  // whether the turn has not ended
    this.gap = 0;  // samples of silence inside the open turn
    this.clean = true;
    this.fade = 0;
    this.last = 0;  // the last played sample, from which a flush fades out
    this.played = this.underruns = 0;
    this.track = new Int16Array(Math.round(sampleRate / 20 / 128) * 128);
    this.filled = 0;
    this.heard = null;  // the latest turn in this track
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take({ sound, turn, end, flush }) {
    if (flush) {
      if (this.queue.length && this.left === 0) this.fade = FADE;
      this.queue = [];
      this.at = this.gap = this.left = 0;
      this.turn = null;
      this.open = false;
      return;
    }
    if (end !== undefined) {
      if (end === this.turn) this.open = false;
      return;
    }
    if (turn !== this.turn) {
      if (this.turn !== null && this.clean) this.wait = Math.max(MIN_S * sampleRate, this.wait * 7 / 8);
      this.turn = turn;
      this.clean = true;
      this.gap = 0;
      if (!this.queue.length) this.left = this.wait;
    } else if (this.gap) {
      this.underruns++;
      this.clean = false;
      this.wait = Math.min(MAX_S * sampleRate, this.wait + this.gap);
      this.left = this.wait;
      this.gap = 0;
    }
    this.open = true;
    this.queue.push({ sound, turn });
  }

  next() {
    if (this.left > 0) {
      this.left--;
      return 0;
    }
    const first = this.queue[0];
    if (!first) {
      if (this.open) this.gap++;
      return 0;
    }
    const sample = first.sound[this.at++] / 32768;
    this.played++;
    this.heard = first.turn;
    if (this.at === first.sound.length) {
      this.queue.shift();
      this.at = 0;
    }
    return sample;
  }

  process(_, outputs) {
    const out = outputs[0][0];
    for (let i = 0; i < out.length; i++) {
      if (this.fade > 0) {
        out[i] = this.last * --this.fade / FADE;
      } else {
        out[i] = this.last = this.next();
      }
      this.track[this.filled++] = Math.round(out[i] * 32767);
      if (this.filled === this.track.length) this.report();
    }
    return true;
  }

  report() {
    const track = this.track.slice();
    let energy = 0;
    for (const sample of track) energy += (sample / 32768) ** 2;
    this.filled = 0;
    this.port.postMessage({
      track, level: Math.sqrt(energy / track.length), turn: this.heard, played: this.played, underruns: this.underruns,
      playing: this.queue.length > 0,
    }, [track.buffer]);
    this.heard = null;
  }
}

registerProcessor("playout", Playout);
