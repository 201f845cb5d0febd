"""Draw docs/grid.svg: eight chunks of a conversation on the grid. Uses the standard library only."""

from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "docs" / "grid.svg"
CHUNK, LEFT, TOP = 112, 118, 34
# Each chunk: the words in the input, and the tokens of the output (None: silence).
CHUNKS = [
    ("so what", None),
    ("did she", None),
    ("say?", None),
    ("", ["She", " said"]),
    ("", [" I'm", " very"]),
    ("", [" brave", None]),
    ("oh no", None),
    ("", ["And", " that"]),
]
STYLE = """
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #24292f } .small { font-size: 10px; fill: #57606a }
.token { font: 11px ui-monospace, monospace } .heard { fill: #dbeafe; stroke: #60a5fa } .spoken { fill: #fde68a;
stroke: #f59e0b } .silence { fill: #f1f5f9; stroke: #cbd5e1 } .grid { stroke: #cbd5e1 } .wave { fill: #60a5fa } .voice
{ fill: #f59e0b } @media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .heard { fill: #1e3a5f } .spoken { fill: #6b4e0b }
  .silence { fill: #21262d; stroke: #3d444d } .grid { stroke: #3d444d } }
"""


def box(x: float, y: float, w: float, h: float, kind: str, label: str = "", note: str = "token") -> str:
    shape = f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" class="{kind}"/>'
    text = (
        f'<text x="{x + w / 2}" y="{y + h / 2 + 4}" text-anchor="middle" class="{note}">{label}</text>' if label else ""
    )
    return shape + text


def wave(x: float, y: float, loud: bool, kind: str) -> str:
    heights = [3, 9, 14, 8, 12, 17, 10, 5, 13, 9, 15, 6, 11, 4] if loud else [1] * 14
    return "".join(
        f'<rect x="{x + 4 + i * 7.5:.1f}" y="{y - h}" width="4" height="{2 * h}" class="{kind}"/>'
        for i, h in enumerate(heights)
    )


def main() -> None:
    width, height = LEFT + CHUNK * len(CHUNKS) + 10, 236
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">']
    parts.append("<title>A conversation on the 0.32 s grid</title>")
    parts.append(f"<style>{STYLE}</style>")
    for y, label in (
        (TOP + 24, "heard, 16 kHz"),
        (TOP + 78, "audio tokens"),
        (TOP + 128, "text tokens"),
        (TOP + 176, "spoken, 24 kHz"),
    ):
        parts.append(f'<text x="8" y="{y}">{label}</text>')
    for n, (heard, tokens) in enumerate(CHUNKS):
        x = LEFT + n * CHUNK
        parts.append(f'<line x1="{x}" y1="16" x2="{x}" y2="{height - 14}" class="grid"/>')
        parts.append(f'<text x="{x + 4}" y="24" class="small">{n * 0.32:.2f} s</text>')
        parts.append(wave(x, TOP + 20, bool(heard), "wave"))
        if heard:
            parts.append(f'<text x="{x + CHUNK / 2}" y="{TOP + 52}" text-anchor="middle" class="small">{heard}</text>')
        parts += [box(x + 4 + i * 26.5, TOP + 62, 23, 24, "heard", "a") for i in range(4)]
        if tokens is None:
            parts.append(box(x + 4, TOP + 112, 103, 24, "silence", "silence", "small"))
        else:
            for i, token in enumerate(tokens):
                kind, label = ("silence", "sil") if token is None else ("spoken", token.replace(" ", "·"))
                parts.append(box(x + 4 + i * 53, TOP + 112, 50, 24, kind, label))
        # The text of a chunk is audible in the next one: the lead is one chunk.
        sounds = n > 0 and CHUNKS[n - 1][1] is not None
        parts.append(wave(x, TOP + 172, sounds, "voice"))
    parts.append("</svg>\n")
    OUT.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
