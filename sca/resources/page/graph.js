// The latency graph: one bar per chunk, the latest at the right, and a line for the median.

const BAR = 6;

export class Graph {
  constructor(canvas, text) {
    this.canvas = canvas;
    this.text = text;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.values = [];
    this.answer = null;  // ms from the end of the user's speech to the start of the answer
    this.text.textContent = "no chunk answered yet";
    this.draw();
  }

  add(ms) {
    this.values.push(ms);
    if (this.values.length > 400) this.values.shift();
    this.draw();
    this.describe();
  }

  answered(ms) {
    this.answer = ms;
    this.describe();
  }

  median() {
    return [...this.values].sort((a, b) => a - b)[this.values.length >> 1];
  }

  describe() {
    if (!this.values.length) return;
    const last = this.values[this.values.length - 1];
    const answer = this.answer === null ? "" : `; last answer started ${Math.round(this.answer)} ms after you stopped speaking`;
    this.text.textContent =
      `last chunk answered after ${Math.round(last)} ms, half of them within ${Math.round(this.median())} ms${answer}`;
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = (canvas.width = Math.max(1, canvas.clientWidth * scale));
    const height = (canvas.height = Math.max(1, canvas.clientHeight * scale));
    const pen = canvas.getContext("2d");
    pen.fillStyle = pen.strokeStyle = getComputedStyle(canvas).color;
    const shown = this.values.slice(-Math.floor(width / (BAR * scale)));
    if (!shown.length) return;
    const most = Math.max(100, ...shown);
    shown.forEach((ms, i) => {
      const tall = Math.max(scale, (ms / most) * (height - 18 * scale));
      pen.fillRect(width - (shown.length - i) * BAR * scale, height - tall, (BAR - 2) * scale, tall);
    });
    const middle = height - (this.median() / most) * (height - 18 * scale);
    pen.setLineDash([4 * scale, 4 * scale]);
    pen.beginPath();
    pen.moveTo(0, middle);
    pen.lineTo(width, middle);
    pen.stroke();
    pen.font = `${12 * scale}px system-ui, sans-serif`;
    pen.fillText(`${Math.round(most)} ms`, 4 * scale, 13 * scale);
  }
}
