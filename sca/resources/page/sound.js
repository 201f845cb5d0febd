// The microphone and the loudspeaker of the browser.
// Events: heard ({sound, level}), played ({track, level, turn, played, underruns, playing}), lost (the microphone was removed),
// state (the browser has paused or resumed the sound, see `paused`).

export const SPOKEN_HZ = 24000;

export class Sound extends EventTarget {
  // The context of the microphone has the rate of the device (capture.js resamples to 16 kHz), that of the answer 24 kHz.
  async start({ microphone, speaker, raw }) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: microphone ? { exact: microphone } : undefined,
        channelCount: 1, echoCancellation: !raw, noiseSuppression: !raw, autoGainControl: !raw,
      },
    });
    const [track] = this.stream.getAudioTracks();
    track.onended = () => this.dispatchEvent(new Event("lost"));
    track.onmute = track.onunmute = () => this.dispatchEvent(new Event("state"));
    this.inputContext = new AudioContext();
    this.outputContext = new AudioContext({ sampleRate: SPOKEN_HZ, latencyHint: "interactive" });
    await Promise.all([
      this.inputContext.audioWorklet.addModule("page/capture.js"),
      this.outputContext.audioWorklet.addModule("page/playout.js"),
    ]);
    for (const context of this.contexts) context.onstatechange = () => this.dispatchEvent(new Event("state"));
    await this.wake();
    await this.speakOn(speaker);
    this.playout = new AudioWorkletNode(this.outputContext, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.playout.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("played", { detail: data }));
    this.playout.connect(this.outputContext.destination);
    this.capture = new AudioWorkletNode(this.inputContext, "capture", { numberOfOutputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("heard", { detail: data }));
    this.inputContext.createMediaStreamSource(this.stream).connect(this.capture);
  }

  get contexts() {
    return [this.inputContext, this.outputContext].filter((context) => context && context.state !== "closed");
  }

  // "interrupted": another program has the sound, such as a call on a phone. "suspended": the browser wants a click first.
  // "muted": the system has muted the microphone. null: the sound runs.
  get paused() {
    const context = this.contexts.find(({ state }) => state !== "running");
    return context?.state ?? (this.stream?.getAudioTracks().some((track) => track.muted) ? "muted" : null);
  }

  // A browser that wants a click first lets this wait without end, so the wait is limited.
  async wake() {
    const waking = Promise.allSettled(this.contexts.map((context) => context.resume()));
    await Promise.race([waking, new Promise((resolve) => setTimeout(resolve, 500))]);
  }

  // Plays a part of the recording. Resolves at its end, or when `stopAgain` is called.
  again(samples) {
    this.stopAgain();
    const [context, own] = this.outputContext?.state === "running" ? [this.outputContext, false] : [new AudioContext(), true];
    const buffer = context.createBuffer(1, Math.max(1, samples.length), SPOKEN_HZ);
    buffer.copyToChannel(samples, 0);
    const source = (this.replay = context.createBufferSource());
    source.buffer = buffer;
    source.connect(context.destination);
    return new Promise((resolve) => {
      source.onended = () => {
        if (own) context.close();
        resolve();
      };
      source.start();
    });
  }

  stopAgain() {
    this.replay?.stop();
    this.replay = null;
  }

  async speakOn(speaker) {
    if (speaker && this.outputContext?.setSinkId) await this.outputContext.setSinkId(speaker);
  }

  play(turn, sound) {
    this.playout.port.postMessage({ turn, sound }, [sound.buffer]);
  }

  end(turn) {
    this.playout.port.postMessage({ end: turn });
  }

  flush() {
    this.playout?.port.postMessage({ flush: true });
  }

  async stop() {
    this.stopAgain();
    this.stream?.getTracks().forEach((track) => track.stop());
    const contexts = this.contexts;
    for (const context of contexts) context.onstatechange = null;
    await Promise.all(contexts.map((context) => context.close()));
  }
}

export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId);
}
