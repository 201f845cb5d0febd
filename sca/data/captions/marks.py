"""Marks of sounds in captions: `[Laughter]`, `(audience laughs)`, `【笑い】`, `♪`, in many languages."""

import re
import tomllib
from functools import cache

from sca.data.corpora.text.scripts import counts_as_syllable
from sca.data.corpora.text.tags import find_tags
from sca.resources import caption_marks

__all__ = ["kinds_of", "split_marks"]

_BRACKETS = re.compile(r"\[([^\[\]]{1,80})\]|【([^【】]{1,40})】|[(（]([^()（）]{1,80})[)）]|\*([^*]{2,40})\*")
_SUNG = re.compile(r"[♪♫♬].*[♪♫♬]|^[♪♫♬].*")
_SPEAKER = re.compile(r"^(?:(?:>>+|[-–—])\s*)?(?:[A-Z][A-Z0-9 .'-]{1,30}:\s+)?")


def split_marks(text: str) -> tuple[str, frozenset[str]]:
    """Return the spoken text of a line of captions, and the kinds of sounds that it marks.

    The mark of a speaker (`>>`, `-`, `JOHN:`) is left out. A line between notes is sung, so it has no spoken text.
    """
    kinds: set[str] = set()
    if _SUNG.search(text):
        kinds.add("music")
        text = _SUNG.sub(" ", text)

    def take(match: re.Match[str]) -> str:
        named = kinds_of(match[0])
        kinds.update(named)
        # What is in square brackets is never spoken; words in round brackets may be.
        is_tag = bool(named) or match[0][0] in "[【" or any(True for _ in find_tags(match[0]))
        return " " if is_tag else match[0]

    spoken = _BRACKETS.sub(take, text)
    return " ".join(_SPEAKER.sub("", spoken.strip()).split()), frozenset(kinds)


@cache
def kinds_of(mark: str) -> frozenset[str]:
    """Return the kinds of sounds that the words of a mark name."""
    return frozenset(kind for kind, pattern in _patterns().items() if pattern.search(mark.casefold()))


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    table: dict[str, list[str]] = tomllib.loads(caption_marks())
    return {kind: re.compile("|".join(map(_pattern, beginnings))) for kind, beginnings in table.items()}


def _pattern(beginning: str) -> str:
    if beginning.startswith("="):
        return rf"(?<!\w){re.escape(beginning[1:].casefold())}(?!\w)"
    word = re.escape(beginning.casefold())
    return word if counts_as_syllable(beginning) or not beginning[0].isalpha() else rf"(?<!\w){word}"
