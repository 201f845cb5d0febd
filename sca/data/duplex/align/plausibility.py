"""Plausibility of the word times that a model found. Words and speech are in samples at 16 kHz.

A model that lost its place in the text still returns times; these checks detect them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from sca.data.corpora.base import TimedWord
from sca.data.corpora.text.scripts import counts_as_syllable
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ

__all__ = ["implausibility"]

_MAX_EMPTY = 0.1
_MAX_WORD = HEARD_HZ * 3 // 2
_MAX_WORDS_PER_SECOND = 8
# Scripts without spaces have a word per character or syllable: fast Japanese has over 10 kana a second.
_MAX_SYLLABLES_PER_SECOND = 16
_MIN_IN_SPEECH = 0.8


def implausibility(words: Sequence[TimedWord], speech: Sequence[Span]) -> str | None:
    """Return the first problem with the words of one utterance, or None.

    Args:
        words: The words.
        speech: The speech found by the VAD, sorted and disjoint.

    Returns:
        `order`; `empty_words` (over 10 % have no length); `long_word` (over 1.5 s); `too_fast` (over 8 words per
        second, or 16 characters or syllables of a script without spaces); `not_in_speech` (under 80 % of the words have
        their middle in speech); or None.
    """
    if any(a.start > b.start or a.end > b.end for a, b in pairwise(words)) or any(w.end < w.start for w in words):
        return "order"
    if sum(word.end == word.start for word in words) > _MAX_EMPTY * len(words):
        return "empty_words"
    if any(word.end - word.start > _MAX_WORD for word in words):
        return "long_word"
    length = words[-1].end - words[0].start
    # A single word has no rate; its length was checked above.
    if len(words) > 1 and _shortest(words) > length:
        return "too_fast"
    starts = [start for start, _ in speech]
    inside = 0
    for word in words:
        middle = (word.start + word.end) // 2
        at = bisect_right(starts, middle) - 1
        inside += at >= 0 and middle < speech[at][1]
    return "not_in_speech" if inside < _MIN_IN_SPEECH * len(words) else None


def _shortest(words: Sequence[TimedWord]) -> float:
    """Return the samples that the words take at the highest plausible rate."""
    syllables = sum(counts_as_syllable(word.text) for word in words)
    seconds = syllables / _MAX_SYLLABLES_PER_SECOND + (len(words) - syllables) / _MAX_WORDS_PER_SECOND
    return seconds * HEARD_HZ
