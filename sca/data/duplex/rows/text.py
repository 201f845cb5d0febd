"""Transcript text: remove tags, find words, join utterances to units.

Pure functions over strings and times in samples at 16 kHz.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sca.data.corpora.base import TimedWord
from sca.data.corpora.text.scripts import WORD, joint
from sca.data.corpora.text.tags import find_tags
from sca.data.duplex.model.units import Unit, UnitWord

__all__ = ["Cleaned", "Tag", "clean", "make_units", "split_words"]

_SPACES = re.compile(r"\s+")
# Control and format characters have no sound. Joiners stay: they change how emoji and Indic or Persian words are
# written.
_SILENT_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS = frozenset("\u200c\u200d")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: its text, and its offset in the cleaned text."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Spoken text (NFC, single spaces), and the tags that were removed from it or kept in it."""

    text: str
    tags: tuple[Tag, ...]


def clean(raw: str, *, keep_tags: bool = False) -> Cleaned:
    """Remove tags and characters without sound, and normalise to NFC, because the tokenizer returns NFC.

    Args:
        raw: The text of an utterance.
        keep_tags: Whether tags remain in the text, as words.
    """
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
    text = _spoken(unicodedata.normalize("NFC", raw))
    for tag in find_tags(text):
        add(text[at : tag.start])
        tags.append(Tag(tag.text, length))
        add(tag.text if keep_tags else tag.spoken)
        at = tag.end
    add(text[at:])
    # A letter and a combining mark on both sides of a tag are separated by a space, so the text is still NFC.
    return Cleaned("".join(pieces), tuple(tags))


def _spoken(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    kept = [
        " " if c.isspace() else c
        for c in text
        if c.isspace() or c in _JOINERS or unicodedata.category(c) not in _SILENT_CATEGORIES
    ]
    # Removing a character between a letter and its mark lets them compose.
    return unicodedata.normalize("NFC", "".join(kept))


def split_words(text: str) -> list[tuple[int, int]]:
    """Return the character ranges of the words of cleaned text. Together they cover everything except spaces.

    In scripts without spaces a word is a character (Chinese, Japanese) or a syllable (Thai, Lao, Burmese, Khmer).
    """
    return [match.span() for match in WORD.finditer(text)]


def make_units(utterances: Iterable[tuple[str, Sequence[TimedWord]]], gap: int) -> list[Unit]:
    """Join the timed utterances of one speaker that are less than `gap` samples apart.

    A space separates their texts, except between Chinese or Japanese texts.

    Args:
        utterances: Text and words of each utterance, in time order; one word per word of `split_words`.
        gap: Samples at 16 kHz.
    """
    units: list[Unit] = []
    for text, words in utterances:
        if not words:
            continue
        before = units.pop() if units and words[0].start - units[-1].end < gap else None
        between = "" if before is None else joint(before.text, text)
        shift = 0 if before is None else len(before.text) + len(between)
        unit_words = tuple(
            UnitWord(word.text, start + shift, end + shift, word.start, word.end, word.source)
            for (start, end), word in zip(split_words(text), words, strict=True)
        )
        if before is None:
            units.append(Unit(text, unit_words))
        else:
            units.append(Unit(f"{before.text}{between}{text}", before.words + unit_words))
    return units
