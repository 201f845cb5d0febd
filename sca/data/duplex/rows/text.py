"""Transcript text: what is spoken, what is only a tag, where its words are, and what belongs together as a unit.

Pure functions over strings and times in samples at 16 kHz. Knows nothing of tokens, chunks or files.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sca.data.duplex.model.units import Unit, UnitWord

__all__ = ["Cleaned", "Tag", "clean", "make_units", "split_words"]

# Corpora mark what is not speech in capitals or stars: [SONANT], [ENS], [LAUGH/], [*]. Lower case in brackets stays: it is text.
_TAG = re.compile(r"\[(?:/?[A-Z][A-Z0-9_/ -]{0,30}|\*{1,4})\]")
_SPACES = re.compile(r"\s+")
# Control and format characters carry no sound. Joiners stay: they change how emoji and Indic or Persian words are written.
_SILENT_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS = frozenset("\u200c\u200d")
# Scripts written without spaces: every character is a word of its own, with the punctuation that leans on it.
_CJK = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
_WORD = re.compile(rf"[^\w\s]*[{_CJK}][^\w\s]*|[^\s{_CJK}]+")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that was taken out: its text, and the offset in the cleaned text where it stood."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Spoken text (NFC, single spaces, no tags) and the map of the tags that were in it."""

    text: str
    tags: tuple[Tag, ...]


def clean(raw: str) -> Cleaned:
    """Take tags and characters without sound out of `raw`; NFC because the tokenizer gives NFC back."""
    pieces: list[str] = []
    tags: list[Tag] = []
    length = 0

    def add(text: str) -> None:
        nonlocal length
        for word in _SPACES.split(text):
            if word:
                piece = f" {word}" if length else word
                pieces.append(piece)
                length += len(piece)

    at = 0
    normal = _spoken(unicodedata.normalize("NFC", raw))
    for match in _TAG.finditer(normal):
        add(normal[at : match.start()])
        tags.append(Tag(match.group(), length))
        at = match.end()
    add(normal[at:])
    # Taking a tag out can bring a letter and a combining mark together; a space stands between them, so NFC still holds.
    return Cleaned("".join(pieces), tuple(tags))


def _spoken(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    kept = [
        " " if c.isspace() else c
        for c in text
        if c.isspace() or c in _JOINERS or unicodedata.category(c) not in _SILENT_CATEGORIES
    ]
    # Dropping a character between a letter and its mark lets them compose, so normalise what is left.
    return unicodedata.normalize("NFC", "".join(kept))


def split_words(text: str) -> list[tuple[int, int]]:
    """Character ranges of the words of cleaned text; together they cover all of it but the spaces."""
    return [match.span() for match in _WORD.finditer(text)]


def make_units(utterances: Iterable[tuple[str, Sequence[UnitWord]]], gap: int) -> list[Unit]:
    """Join one speaker's timed utterances (in time order) that are less than `gap` samples apart into units."""
    units: list[Unit] = []
    for text, words in utterances:
        if not words:
            continue
        if units and words[0].start - units[-1].end < gap:
            before = units.pop()
            shift = len(before.text) + 1
            moved = tuple(UnitWord(w.text, w.at + shift, w.until + shift, w.start, w.end, w.source) for w in words)
            units.append(Unit(f"{before.text} {text}", before.words + moved))
        else:
            units.append(Unit(text, tuple(words)))
    return units
