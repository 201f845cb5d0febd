// The recorded and the played audio, kept in memory for a download. Both tracks start at the same time.

export const MAX_S = 30 * 60;

export class Track {
  constructor(rateHz) {
    this.rateHz = rateHz;
    this.pieces = [];
    this.samples = 0;
  }

  add(piece) {  // piece: Int16Array. After half an hour it is dropped.
    const room = MAX_S * this.rateHz - this.samples;
    if (room <= 0) return;
    this.pieces.push(piece.length > room ? piece.subarray(0, room) : piece);
    this.samples += Math.min(piece.length, room);
  }

  wav() {
    const head = new DataView(new ArrayBuffer(44));
    const bytes = 2 * this.samples;
    const text = (at, word) => [...word].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    head.setUint32(4, 36 + bytes, true);
    text(8, "WAVEfmt ");
    head.setUint32(16, 16, true);
    head.setUint16(20, 1, true);
    head.setUint16(22, 1, true);
    head.setUint32(24, this.rateHz, true);
    head.setUint32(28, 2 * this.rateHz, true);
    head.setUint16(32, 2, true);
    head.setUint16(34, 16, true);
    text(36, "data");
    head.setUint32(40, bytes, true);
    return new Blob([head, ...this.pieces], { type: "audio/wav" });
  }

  save(name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(this.wav());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}
