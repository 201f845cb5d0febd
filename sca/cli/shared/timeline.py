"""A conversation as text: strips of the grid, both speakers above each other, tokens below, as wide as the terminal."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from sca.data.duplex.inspect.view import Side, View

__all__ = ["printable", "timeline"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_KINDS = {"turn": "─", "backchannel": "·", "interruption": "━"}
_COLOURS = ("cyan", "yellow", "green", "magenta")
_CELL = 8
_LABEL_MOST = 8


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control and format characters and line breaks become a dot."""
    return "".join("·" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text)


def timeline(view: "View", levels: Sequence[Sequence[int]], bins_per_s: int, width: int) -> Iterator[Text]:
    """The lines.   levels: per speaker the loudest sample of every bin, 0 to 255.   width: columns there are.

    A chunk gets eight columns, fewer where not even two would fit.
    """
    labels = [printable(name) for name in view.speakers]
    gutter = min(_LABEL_MOST, max([cell_len(name) for name in labels] + [6])) + 1
    cell = _CELL if width - gutter >= 2 * _CELL else max(2, (width - gutter) // 2)
    per_strip = max(1, (width - gutter) // cell)
    for first in range(0, view.n_chunks, per_strip):
        last = min(view.n_chunks, first + per_strip)
        yield _line("", gutter, _ruler(view, first, last, cell), "dim")
        for speaker, label in enumerate(labels):
            style = _COLOURS[speaker % len(_COLOURS)]
            yield _line(label, gutter, _loudness(view, levels[speaker], bins_per_s, first, last, cell), style)
            yield _line("", gutter, _kinds(view, speaker, first, last, cell), style)
            yield _line("", gutter, _words(view, speaker, first, last, cell), "")
        for side in view.sides:
            label = "tokens" if len(view.sides) == 1 else f"→{printable(side.speaker)}"
            yield from _tokens(side, label, gutter, first, last, cell)
        yield Text("")


def _line(label: str, gutter: int, body: str, style: str) -> Text:
    line = Text(set_cell_size(label, gutter - 1) + " ", style="bold" if label else "")
    line.append(body.rstrip(), style=style)
    return line


def _ruler(view: "View", first: int, last: int, cell: int) -> str:
    out = ""
    for chunk in range(first, last):
        mark = f"{chunk * view.chunk_s:.2f}"
        every = -(-(len(mark) + 2) // cell)
        out += set_cell_size(f"|{mark}", cell * every) if (chunk - first) % every == 0 else ""
    return set_cell_size(out, (last - first) * cell)


def _loudness(view: "View", levels: Sequence[int], bins_per_s: int, first: int, last: int, cell: int) -> str:
    out = []
    for column in range((last - first) * cell):
        start = (first + column / cell) * view.chunk_s * bins_per_s
        end = (first + (column + 1) / cell) * view.chunk_s * bins_per_s
        loud = max(levels[int(start) : max(int(start) + 1, int(end))], default=0)
        # The square root: speech lives in the lower part of the scale.
        out.append(_BLOCKS[min(len(_BLOCKS) - 1, int((loud / 255) ** 0.5 * len(_BLOCKS)))])
    return "".join(out)


def _columns(view: "View", start_s: float, end_s: float, first: int, last: int, cell: int) -> tuple[int, int]:
    """The columns `[from, to)` of a stretch of time in a strip."""
    scale = cell / view.chunk_s
    most = (last - first) * cell
    start = round(start_s * scale) - first * cell
    end = max(round(end_s * scale) - first * cell, start + 1)
    return min(max(start, 0), most), min(max(end, 0), most)


def _kinds(view: "View", speaker: int, first: int, last: int, cell: int) -> str:
    out = [" "] * ((last - first) * cell)
    for piece in view.pieces:
        if piece.speaker == speaker:
            start, end = _columns(view, piece.start_s, piece.end_s, first, last, cell)
            out[start:end] = _KINDS.get(piece.kind, "─") * (end - start)
    return "".join(out)


def _words(view: "View", speaker: int, first: int, last: int, cell: int) -> str:
    """Each word where it begins; one that does not fit before the next is cut."""
    width = (last - first) * cell
    starts = []
    for word in view.words:
        at = round(word.start_s * cell / view.chunk_s) - first * cell
        if word.speaker == speaker and 0 <= at < width:
            starts.append((at, printable(word.text)))
    out, filled = "", 0
    for n, (at, text) in enumerate(starts):
        at = max(at, filled)
        until = starts[n + 1][0] - 1 if n + 1 < len(starts) else width
        room = until - at
        if room <= 0:
            continue
        shown = _cut(text, room)
        out += " " * (at - filled) + shown
        filled = at + cell_len(shown)
        if filled < width:
            out, filled = out + " ", filled + 1
    return out


def _cut(text: str, room: int) -> str:
    return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"


def _tokens(side: "Side", label: str, gutter: int, first: int, last: int, cell: int) -> Iterator[Text]:
    """A line a place in the chunk; a dot where a chunk holds none."""
    here = {(t.chunk, t.k): printable(t.text.strip()) or "␣" for t in side.tokens if first <= t.chunk < last}
    depth = max([k for _, k in here] + [0]) + 1
    for k in range(depth):
        cells = (here.get((chunk, k), "·" if k == 0 else "") for chunk in range(first, last))
        body = "".join(set_cell_size(_cut(text, cell - 1), cell) for text in cells)
        yield _line(label if k == 0 else "", gutter, body, "")
