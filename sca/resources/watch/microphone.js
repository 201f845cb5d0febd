// A spoken instruction: the sound of the microphone as int16 at 16 kHz (capture.js), until `stop`, silence or the limit.
const BLOCK_S = 0.02, QUIET_S = 1.5, FIRST_WORD_S = 8;
const LEAST_LEVEL = 0.01, ABOVE_NOISE = 3, NOISE_RISE = 1.005;
const REASONS = { NotAllowedError: "the browser does not allow the microphone", NotFoundError: "no microphone was found" };

// Whether the page may ask for a microphone and there is one: browsers have none for pages over HTTP from another machine.
export async function hasMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return false;
  return (await navigator.mediaDevices.enumerateDevices()).some(({ kind }) => kind === "audioinput");
}

// Finds the end of the speech in the levels of blocks.
class Ending {
  constructor() {
    Object.assign(this, { noise: 1, spoken: false, quietS: 0 });
  }

  isOver(level) {
    this.noise = Math.min(level, this.noise * NOISE_RISE + 1e-6);
    const loud = level > Math.max(LEAST_LEVEL, ABOVE_NOISE * this.noise);
    this.spoken ||= loud;
    this.quietS = loud ? 0 : this.quietS + BLOCK_S;
    return this.quietS >= (this.spoken ? QUIET_S : FIRST_WORD_S);
  }
}

export class Take {
  constructor(maxS) {
    Object.assign(this, { maxS, blocks: [], ending: new Ending() });
    this.ended = new Promise((resolve) => (this.stop = resolve));
  }

  // Calls `onStart` when the microphone is open. Returns int16 at 16 kHz, or null if it ended without any sound.
  async record(onStart) {
    let stream = null, context = null, silent = false;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
      stream.getAudioTracks()[0].onended = () => this.stop();
      context = new AudioContext();
      await context.audioWorklet.addModule("page/capture.js");
      const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
      capture.port.onmessage = ({ data }) => this.add(data);
      context.createMediaStreamSource(stream).connect(capture);
      context.resume();
      onStart();
      silent = (await this.ended) === "silent";
    } catch (error) {
      throw new Error(REASONS[error.name] ?? error.message);
    } finally {
      stream?.getTracks().forEach((track) => track.stop());
      await context?.close();
    }
    return silent || !this.blocks.length ? null : new Blob(this.blocks);
  }

  add({ sound, level }) {
    if ((this.blocks.length + 1) * BLOCK_S <= this.maxS) this.blocks.push(sound);
    else this.stop();
    if (this.ending.isOver(level)) this.stop(this.ending.spoken ? "spoken" : "silent");
  }
}
