"""Cut a text that arrives in pieces into the units that are spoken: clauses, or sentences after a first clause.

Where a unit ends depends on the text alone, not on the pieces. A unit ends after punctuation that white space follows,
so `3.14` and `U.S.A.` stay whole, and not after an abbreviation. What comes after the white space decides whether a
full stop ends a sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_UNIT_CHARS", "ClauseCutter", "Unit"]

MAX_UNIT_CHARS = 300
"""A longer unit is cut at the last white space before it, or inside a word that is this long."""

_MIN_CLAUSE_CHARS = 12
"""A shorter clause is spoken with the next one: "well, yes, ..." sounds better in one piece."""

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+(?=\S)|[。！？]+\s*(?=\S)|\n[^\S\n]*\n\s*(?=\S)")
_CLAUSE_END = re.compile(
    r"[,;:.!?…]+[\"'”’)\]]*\s+(?=\S)|\s[–—-]\s+(?=\S)|[。！？、，；：]+\s*(?=\S)|\n[^\S\n]*\n\s*(?=\S)"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:mr|mrs|ms|dr|prof|st|sr|jr|vs|etc|no|nos|vol|fig|approx|dept|est|gen|col|sgt|capt|lt|rev|hon"
    r"|bzw|ca|nr|str|[^\W\d]|(?:[^\W\d]\.)+[^\W\d])\.\s+$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a text.

    Attributes:
        text: The part, including the white space around it.
        start_char: Where it starts in the whole text.
    """

    text: str
    start_char: int


class ClauseCutter:
    """Returns units as soon as they are complete; joined, they are the whole text.

    Args:
        sentences: Whether units after the first one are whole sentences; otherwise every unit is a clause.
    """

    def __init__(self, *, sentences: bool) -> None:
        self._sentences = sentences
        self._text = ""
        self._at = 0
        self._is_first = True

    def push(self, piece: str) -> Iterator[Unit]:
        """Add text and yield the units that are complete now."""
        self._text += piece
        while (end := self._end()) is not None:
            yield self._take(end)

    def flush(self) -> Iterator[Unit]:
        """Yield the rest, if it is more than white space."""
        if self._text.strip():
            yield self._take(len(self._text))

    def _take(self, end: int) -> Unit:
        unit = Unit(self._text[:end], self._at)
        self._text = self._text[end:]
        self._at += end
        self._is_first = False
        return unit

    def _end(self) -> int | None:
        """Return where the first unit of the text ends; None if that is not known yet."""
        pattern = _SENTENCE_END if self._sentences and not self._is_first else _CLAUSE_END
        for found in pattern.finditer(self._text, 0, MAX_UNIT_CHARS + 1):
            if len(self._text[: found.end()].strip()) < _MIN_CLAUSE_CHARS and "\n" not in found[0]:
                continue
            if not self._is_abbreviation(found.end()):
                return found.end()
        if len(self._text) <= MAX_UNIT_CHARS:
            return None
        space = max((found.end() for found in re.finditer(r"\s+", self._text[:MAX_UNIT_CHARS])), default=0)
        return space if self._text[:space].strip() else MAX_UNIT_CHARS

    def _is_abbreviation(self, end: int) -> bool:
        """Whether the full stop before `end` belongs to a word, as in `Dr. Smith`, or a small letter follows."""
        before = self._text[:end]
        if not before.rstrip().endswith("."):
            return False
        return self._text[end].islower() or _ABBREVIATION.search(before) is not None
