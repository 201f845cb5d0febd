"""A conversation as text: strips of the grid with the speakers above each other and the tokens below.

The layout fills the width of the terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sca.textutil import printable

if TYPE_CHECKING:
    from sca.data.duplex.inspect.view import SideView, View

__all__ = ["timeline"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_KINDS = {"turn": "─", "backchannel": "·", "interruption": "━"}
_COLOURS = ("cyan", "yellow", "green", "magenta")
_CELL = 8
_LABEL_MAX = 8


def timeline(view: "View", levels: Sequence[Sequence[int]], bins_per_s: int, width: int) -> Iterator[Text]:
    """Yield the lines of the timeline.

    A chunk gets eight columns, or fewer if less than two chunks would fit.

    Args:
        view: The row or session.
        levels: For each speaker the peak level of every bin, 0 to 255.
        bins_per_s: Number of bins per second.
        width: Number of columns.
    """
    labels = [printable(name) for name in view.speakers]
    gutter = min(_LABEL_MAX, max([cell_len(name) for name in labels] + [6])) + 1
    cell = _CELL if width - gutter >= 2 * _CELL else max(2, (width - gutter) // 2)
    per_strip = max(1, (width - gutter) // cell)
    for first in range(0, view.n_chunks, per_strip):
        strip = _Strip(view, first, min(view.n_chunks, first + per_strip), cell)
        yield _line("", gutter, strip.ruler(), "dim")
        for speaker, label in enumerate(labels):
            style = _COLOURS[speaker % len(_COLOURS)]
            yield _line(label, gutter, strip.loudness(levels[speaker], bins_per_s), style)
            yield _line("", gutter, strip.segments(speaker), style)
            yield _line("", gutter, strip.words(speaker), "")
        for side in view.sides:
            label = "tokens" if len(view.sides) == 1 else f"→{printable(side.speaker)}"
            for row, body in enumerate(strip.tokens(side)):
                yield _line(label if row == 0 else "", gutter, body, "")
        yield Text("")


def _line(label: str, gutter: int, body: str, style: str) -> Text:
    line = Text(set_cell_size(label, gutter - 1) + " ", style="bold" if label else "")
    line.append(body.rstrip(), style=style)
    return line


def _cut(text: str, room: int) -> str:
    return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"


@dataclass(frozen=True, slots=True)
class _Strip:
    """The chunks `[first, last)` of a view, `cell` columns each."""

    view: "View"
    first: int
    last: int
    cell: int

    @property
    def width(self) -> int:
        return (self.last - self.first) * self.cell

    def ruler(self) -> str:
        text = ""
        for chunk in range(self.first, self.last):
            mark = f"{chunk * self.view.chunk_s:.2f}"
            interval = -(-(len(mark) + 2) // self.cell)
            if (chunk - self.first) % interval == 0:
                text += set_cell_size(f"|{mark}", self.cell * interval)
        return set_cell_size(text, self.width)

    def loudness(self, levels: Sequence[int], bins_per_s: int) -> str:
        text = []
        scale = self.view.chunk_s * bins_per_s
        for column in range(self.width):
            start = (self.first + column / self.cell) * scale
            end = (self.first + (column + 1) / self.cell) * scale
            peak = max(levels[int(start) : max(int(start) + 1, int(end))], default=0)
            # The square root, because speech is in the lower part of the scale.
            text.append(_BLOCKS[min(len(_BLOCKS) - 1, int((peak / 255) ** 0.5 * len(_BLOCKS)))])
        return "".join(text)

    def segments(self, speaker: int) -> str:
        text = [" "] * self.width
        for segment in self.view.segments:
            if segment.speaker == speaker:
                start, end = self._columns(segment.start_s, segment.end_s)
                text[start:end] = _KINDS.get(segment.kind, "─") * (end - start)
        return "".join(text)

    def _columns(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Return the columns `[start, end)` of a time span, at least one if it begins in the strip."""
        start = self._column(start_s)
        end = max(self._column(end_s), start + 1)
        return min(max(start, 0), self.width), min(max(end, 0), self.width)

    def _column(self, time_s: float) -> int:
        return round(time_s * self.cell / self.view.chunk_s) - self.first * self.cell

    def words(self, speaker: int) -> str:
        """Place each word where it begins; cut it if it does not fit before the next."""
        starts = []
        for word in self.view.words:
            column = self._column(word.start_s)
            if word.speaker == speaker and 0 <= column < self.width:
                starts.append((column, printable(word.text)))
        line, filled = "", 0
        for n, (column, text) in enumerate(starts):
            column = max(column, filled)
            room = (starts[n + 1][0] - 1 if n + 1 < len(starts) else self.width) - column
            if room <= 0:
                continue
            shown = _cut(text, room)
            line += " " * (column - filled) + shown
            filled = column + cell_len(shown)
            if filled < self.width:
                line, filled = line + " ", filled + 1
        return line

    def tokens(self, side: "SideView") -> Iterator[str]:
        """Yield a line for each position in a chunk.

        A dot marks a chunk without tokens, a question mark one that is not a label, because the words are not known.
        """
        unknown = {chunk for first, end in side.unlabelled for chunk in range(first, end)}
        placed = {
            (token.chunk, token.k): printable(token.text.strip()) or "␣"
            for token in side.tokens
            if self.first <= token.chunk < self.last
        }
        for k in range(max([k for _, k in placed] + [0]) + 1):
            empty = (
                {chunk: "?" if chunk in unknown else "·" for chunk in range(self.first, self.last)} if k == 0 else {}
            )
            cells = (placed.get((chunk, k), empty.get(chunk, "")) for chunk in range(self.first, self.last))
            yield "".join(set_cell_size(_cut(text, self.cell - 1), self.cell) for text in cells)
