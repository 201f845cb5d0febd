// The levels of both sides of the last seconds: the user above the line, the answer below it. The latest is at the right.

const STEP_MS = 50, BAR = 3, GAP = 2;  // px

export class Wave {
  constructor(canvas) {
    this.canvas = canvas;
    this.levels = [];  // [user, answer] of each step, 0 to 1
    this.now = [0, 0];
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.ticks = 0;
    setInterval(() => {
      if (!this.moving && this.levels.every(([a, b]) => a + b === 0)) return;
      this.add();
      if (!document.hidden && (!calm.matches || this.ticks++ % 20 === 0)) this.draw();
    }, STEP_MS);
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.moving = false;
  }

  clear() {
    this.levels = [];
    this.draw();
  }

  set(side, level) {  // side: 0 for the user, 1 for the answer; level: RMS
    const height = level > 0 ? Math.max(0, 1 + Math.log10(level) / 2.5) : 0;  // from -50 dB
    this.now[side] = Math.max(this.now[side], Math.min(1, height));
  }

  add() {
    this.levels.push(this.now);
    this.now = [0, 0];
    if (this.levels.length > 1000) this.levels.shift();
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale)));
    const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale)));
    const pen = canvas.getContext("2d");
    const [bar, step, middle] = [BAR * scale, (BAR + GAP) * scale, height / 2];
    const colours = ["--you", "--model"].map((name) => colour(canvas, name));
    const count = Math.floor(width / step);
    for (let i = 0; i < count; i++) {
      const levels = this.levels[this.levels.length - count + i] ?? [0, 0];
      for (const side of [0, 1]) {
        const tall = Math.max(scale, levels[side] * (middle - 2 * scale));
        pen.fillStyle = colours[side];
        pen.globalAlpha = levels[side] ? 1 : 0.35;
        pen.beginPath();
        pen.roundRect(width - (count - i) * step, side ? middle + scale : middle - scale - tall, bar, tall, bar / 2);
        pen.fill();
      }
    }
  }
}

function colour(element, name) {  // the value of a variable with light-dark(), as a colour
  element.style.color = `var(${name})`;
  return getComputedStyle(element).color;
}
