// The microphone and the loudspeaker of the browser.
// Events: heard ({sound, level}), played ({track, level, played, underruns, playing}), lost (the microphone was removed).

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
    this.inputContext = new AudioContext();
    this.outputContext = new AudioContext({ sampleRate: SPOKEN_HZ, latencyHint: "interactive" });
    await Promise.all([
      this.inputContext.audioWorklet.addModule("page/capture.js"),
      this.outputContext.audioWorklet.addModule("page/playout.js"),
    ]);
    await Promise.all([this.inputContext.resume(), this.outputContext.resume()]);
    await this.speakOn(speaker);
    this.playout = new AudioWorkletNode(this.outputContext, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.playout.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("played", { detail: data }));
    this.playout.connect(this.outputContext.destination);
    this.capture = new AudioWorkletNode(this.inputContext, "capture", { numberOfOutputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("heard", { detail: data }));
    this.inputContext.createMediaStreamSource(this.stream).connect(this.capture);
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
    this.stream?.getTracks().forEach((track) => track.stop());
    await Promise.all([this.inputContext, this.outputContext].map((context) => context && context.state !== "closed" && context.close()));
  }
}

export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId);
}
