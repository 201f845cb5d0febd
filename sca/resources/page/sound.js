// Microphone and loudspeaker of the browser. Knows no connection and no page.
// Events: heard ({sound, level}), played ({track, level, played, underruns, playing}), lost (the microphone is gone).

export const SAID_HZ = 24000;

export class Sound extends EventTarget {
  // The context of the microphone runs at the device's own rate (capture.js makes 16 kHz of it), that of the answer at 24 kHz.
  async start({ microphone, speaker, raw }) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: microphone ? { exact: microphone } : undefined,
        channelCount: 1, echoCancellation: !raw, noiseSuppression: !raw, autoGainControl: !raw,
      },
    });
    const [track] = this.stream.getAudioTracks();
    track.onended = () => this.dispatchEvent(new Event("lost"));
    this.ear = new AudioContext();
    this.mouth = new AudioContext({ sampleRate: SAID_HZ, latencyHint: "interactive" });
    await Promise.all([
      this.ear.audioWorklet.addModule("page/capture.js"),
      this.mouth.audioWorklet.addModule("page/playout.js"),
    ]);
    await Promise.all([this.ear.resume(), this.mouth.resume()]);
    await this.speakOn(speaker);
    this.playout = new AudioWorkletNode(this.mouth, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.playout.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("played", { detail: data }));
    this.playout.connect(this.mouth.destination);
    this.capture = new AudioWorkletNode(this.ear, "capture", { numberOfOutputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("heard", { detail: data }));
    this.ear.createMediaStreamSource(this.stream).connect(this.capture);
  }

  async speakOn(speaker) {
    if (speaker && this.mouth?.setSinkId) await this.mouth.setSinkId(speaker);
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
    await Promise.all([this.ear, this.mouth].map((context) => context && context.state !== "closed" && context.close()));
  }
}

export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((one) => one.kind === kind && one.deviceId);
}
