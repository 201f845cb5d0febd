"""Correct the word times of a model by its measured errors: a shift, and starts after a pause at the onset of speech.

Whisper finds words by its attention. The error of their starts has a constant part, which a shift removes. The start of
a word after a pause is worse, because the attention reaches into the pause; there the voice activity detector is more
exact. `sca calibrate` measures both. Times are seconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Correction", "Times", "corrected"]

Times = tuple[float, float]

_FARTHEST_S = 3.0
"""A start farther than this from an onset of speech is not moved to it: the word may be another one."""
_SHORTEST_S = 0.01


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to the times of a model.

    Attributes:
        start_s: Seconds for starts within speech, and after pauses that the detector does not find.
        end_s: Seconds for ends.
        onset_s: Seconds between an onset that the detector finds and the start of the word.
        at_onsets: Whether starts after pauses are taken from the detector.
        early_weight: What decides whether a word in a pause belongs to the speech after it: the weight of its part before
            the onset, against its part after the end of speech. It is small for a model whose starts after pauses are
            too early, and 1 for one whose words before pauses end too late.
    """

    start_s: float = 0.0
    end_s: float = 0.0
    onset_s: float = 0.0
    at_onsets: bool = True
    early_weight: float = 0.5


def corrected(words: Sequence[Times], speech: Sequence[Times], correction: Correction) -> list[Times]:
    """Correct the times of words.

    Args:
        words: `(start, end)` of each word, by start.
        speech: Speech that the detector found, without margins; sorted and disjoint.
        correction: The correction.

    Returns:
        As many times. No word starts before 0, before the word before it or before that word's end.
    """
    starts = [start + correction.start_s for start, _ in words]
    ends = [end + correction.end_s for _, end in words]
    if correction.at_onsets:
        for onset, word in _first_words(list(zip(starts, ends, strict=True)), speech, correction.early_weight):
            if abs(starts[word] - onset) <= _FARTHEST_S:
                starts[word] = onset + correction.onset_s
    return _in_order(starts, ends, [max(end - start, 0.0) for start, end in words])


def _first_words(words: Sequence[Times], speech: Sequence[Times], early_weight: float) -> list[tuple[float, int]]:
    """Return each onset of speech with the index of the first word after it; an onset without a word is left out."""
    found: list[tuple[float, int]] = []
    starts = [start for start, _ in words]
    for n, (onset, _) in enumerate(speech):
        before = speech[n - 1][1] if n else float("-inf")
        at = bisect_right(starts, onset)
        while at > 0 and _is_after(words[at - 1], before, onset, early_weight):
            at -= 1
        last = found[-1][1] if found else -1
        if last < at < len(words) and starts[at] < speech[n][1]:
            found.append((onset, at))
    return found


def _is_after(word: Times, before: float, onset: float, early_weight: float) -> bool:
    """Return whether a word that starts before an onset belongs to the speech after it."""
    start, end = word
    early = min(end, onset) - start
    late = end - max(start, before)
    return early * early_weight < late


def _in_order(starts: Sequence[float], ends: Sequence[float], lengths: Sequence[float]) -> list[Times]:
    """Put times in order. A start has precedence over the end before it, because starts are more exact."""
    ordered: list[float] = []
    for start in starts:
        ordered.append(max(start, 0.0, ordered[-1] if ordered else 0.0))
    result: list[Times] = []
    for n, start in enumerate(ordered):
        limit = ordered[n + 1] if n + 1 < len(ordered) else float("inf")
        shortest = min(lengths[n], _SHORTEST_S)
        result.append((start, min(max(ends[n], start + shortest), limit)))
    return result
