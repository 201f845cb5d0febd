// Prevents that the screen turns off during a conversation, where the browser can do that.

export class Awake {
  constructor() {
    this.wanted = false;
    this.lock = null;
    document.addEventListener("visibilitychange", () => this.request());  // a hidden page loses its lock
  }

  set(wanted) {
    this.wanted = wanted;
    if (wanted) return this.request();
    this.lock?.release();
    this.lock = null;
  }

  async request() {
    if (!this.wanted || document.hidden || !navigator.wakeLock || (this.lock && !this.lock.released)) return;
    try {
      this.lock = await navigator.wakeLock.request("screen");
      if (!this.wanted) this.set(false);
    } catch { /* refused, for example to save the battery: the conversation goes on */ }
  }
}
