// The picture: parts of api/mjpeg are drawn at the time that the server gives them, which is that of the speech too.
import { partsOf, respond, serverNow } from "./api.js";

// Pictures, captions and speech are all later than the server's times by this, in seconds: time for network and decoding.
export const LATENCY = 0.2;
const MOST = 12;

export class Picture {
  constructor(canvas, onError) {
    Object.assign(this, { canvas, onError, queue: [], timeS: -1, drawn: 0, times: [], stopper: null });
    this.context = canvas.getContext("2d", { alpha: false });
  }

  // Reads until `stop`, and again after a loss.
  async run() {
    const stopper = (this.stopper = new AbortController());
    while (!stopper.signal.aborted) {
      try {
        for await (const part of partsOf(await respond("api/mjpeg", { signal: stopper.signal }))) {
          const bitmap = await createImageBitmap(part.blob).catch(() => null); // a damaged picture is skipped
          if (!bitmap) continue;
          this.queue.push({ bitmap, timeS: part.headers.get("x-time-us") / 1e6, showS: part.headers.get("x-show-us") / 1e6 });
          if (this.queue.length > MOST) this.queue.shift().bitmap.close();
        }
      } catch (error) {
        if (!stopper.signal.aborted) this.onError(error);
      }
      if (!stopper.signal.aborted) await new Promise((done) => setTimeout(done, 1000));
    }
  }

  stop() {
    this.stopper?.abort();
    for (const { bitmap } of this.queue.splice(0)) bitmap.close();
  }

  // Draws the newest picture that is due.
  draw() {
    const due = serverNow() - LATENCY;
    let next = null;
    while (this.queue.length && this.queue[0].showS <= due) {
      next?.bitmap.close();
      next = this.queue.shift();
    }
    if (!next) return;
    const { bitmap, timeS } = next;
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      Object.assign(this.canvas, { width: bitmap.width, height: bitmap.height });
    }
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.timeS = timeS;
    this.drawn += 1;
    this.times.push(performance.now());
    while (this.times[0] < performance.now() - 2000) this.times.shift();
  }

  get rate() {
    return this.times.filter((time) => time > performance.now() - 2000).length / 2;
  }
}
