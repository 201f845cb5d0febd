"""Read captions: words with times, and the marks of sounds.

Automatic captions of YouTube give each word a time inside the line, `<00:00:01.234><c> word</c>`, and repeat every line
in the next cue, below which the following line appears. A repeated line counts once. Words without a time of their own
divide the time of their cue by their lengths.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.captions.marks import split_marks
from sca.data.corpora.segments.cues import Cue, cues_of, plain_text
from sca.data.corpora.segments.model import Problem, Word, seconds_of
from sca.data.corpora.text.scripts import WORD, weight

__all__ = ["Captions", "Mark", "read_captions"]

_INLINE = re.compile(r"<((?:[0-9]{1,4}:)?[0-9]{1,2}:[0-9]{2}\.[0-9]{1,3})>")
_TOUCHING_S = 0.05
"""The cues of one rolling display follow each other without a gap."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A sound that captions mark: its kind, and the times of its cue in seconds."""

    kind: str
    start: float
    end: float


@dataclass(slots=True)
class Captions:
    """The content of a file of captions.

    Attributes:
        words: The spoken words, sorted by time.
        marks: The marks of sounds, sorted by time.
        cues: The number of cues.
        problems: Lines that could not be read.
    """

    words: list[Word] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    cues: int = 0
    problems: list[Problem] = field(default_factory=list)


def read_captions(path: Path) -> Captions:
    """Read an SRT or WebVTT file.

    Raises:
        ValueError: The file cannot be read, or is not text.
    """
    found = Captions()
    is_escaped = path.suffix.lower() == ".vtt"
    previous: Cue | None = None
    cues = list(cues_of(path))
    is_rolling = any(_INLINE.search(line) for cue in cues if isinstance(cue, Cue) for line in cue.lines)
    for cue in cues:
        if isinstance(cue, Problem):
            found.problems.append(cue)
            continue
        if cue.end_s <= cue.start_s:
            found.problems.append(Problem(cue.number, "ends before it starts"))
            continue
        found.cues += 1
        lines = _new_lines(cue, previous if is_rolling else None)
        previous = cue
        words: list[Word] = []
        for marked in lines:
            spoken, kinds = split_marks(plain_text(marked, is_escaped=is_escaped))
            found.marks += [Mark(kind, cue.start_s, cue.end_s) for kind in sorted(kinds)]
            if spoken:
                words += _words(marked, spoken, cue, is_escaped=is_escaped)
        found.words += _divided(words, cue)
    found.words.sort(key=lambda word: word.start_s)
    found.marks.sort(key=lambda mark: mark.start)
    return found


def _new_lines(cue: Cue, previous: Cue | None) -> list[str]:
    """Return the lines that the cue before did not show."""
    if previous is None or cue.start_s - previous.end_s > _TOUCHING_S:
        return list(cue.lines)
    shown = {plain_text(line, is_escaped=False) for line in previous.lines}
    return [line for line in cue.lines if _INLINE.search(line) or plain_text(line, is_escaped=False) not in shown]


def _words(marked: str, spoken: str, cue: Cue, *, is_escaped: bool) -> list[Word]:
    """Return the words of a line; those without a time of their own start at -1."""
    times = [cue.start_s, *(seconds_of(time) for time in _INLINE.findall(marked))]
    if len(times) == 1:
        return [Word(text, -1.0, -1.0, given=False) for text in WORD.findall(spoken)]
    pieces = [plain_text(piece, is_escaped=is_escaped) for piece in _INLINE.split(marked)[::2]]
    ends = [*times[1:], cue.end_s]
    words: list[Word] = []
    for piece, start, end in zip(pieces, times, ends, strict=True):
        words += _spread(WORD.findall(split_marks(piece)[0]), start, max(start, end))
    return words


def _divided(words: Sequence[Word], cue: Cue) -> Iterator[Word]:
    """Give the words of a cue without times their share of it."""
    untimed = [word.text for word in words if not word.given]
    yield from (word for word in words if word.given)
    yield from _spread(untimed, cue.start_s, cue.end_s, given=False)


def _spread(texts: Sequence[str], start: float, end: float, *, given: bool = True) -> Iterator[Word]:
    """Divide a time between words by their lengths."""
    whole = sum(map(weight, texts))
    at = 0
    for text in texts:
        first, at = at, at + weight(text)
        yield Word(text, start + (end - start) * first / whole, start + (end - start) * at / whole, given)
