"""Whether recognised word times of an utterance can be believed. Pure: words and speech in samples at 16 kHz.

A model that lost its place gives times that look like times; these are the signs by which it shows.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import UnitWord
from sca.units import HEARD_HZ

__all__ = ["gate_failure"]

_MOST_EMPTY = 0.1
_LONGEST_WORD = HEARD_HZ * 3 // 2
_MOST_WORDS_A_SECOND = 8
_LEAST_IN_SPEECH = 0.8


def gate_failure(words: Sequence[UnitWord], speech: Sequence[Span]) -> str | None:
    """The first thing that is wrong with the words of one utterance, or None.

    speech: where the VAD hears speech, sorted and disjoint. Reasons: `order`, `empty_words` (over 10 % have no length),
    `long_word` (over 1.5 s), `too_fast` (over 8 words a second), `not_in_speech` (under 80 % of the middles are).
    """
    if any(a.start > b.start or a.end > b.end for a, b in pairwise(words)) or any(w.end < w.start for w in words):
        return "order"
    if sum(word.end == word.start for word in words) > _MOST_EMPTY * len(words):
        return "empty_words"
    if any(word.end - word.start > _LONGEST_WORD for word in words):
        return "long_word"
    length = words[-1].end - words[0].start
    # One word has no rate, and its length was looked at above.
    if len(words) > 1 and len(words) * HEARD_HZ > _MOST_WORDS_A_SECOND * length:
        return "too_fast"
    starts = [start for start, _ in speech]
    inside = 0
    for word in words:
        middle = (word.start + word.end) // 2
        at = bisect_right(starts, middle) - 1
        inside += at >= 0 and middle < speech[at][1]
    return "not_in_speech" if inside < _LEAST_IN_SPEECH * len(words) else None
