"""Correct the word times of a model by its measured errors: a shift, the lengths of words, and the onset of speech.

Whisper finds words by its attention. The error of their starts has a constant part, which a shift removes. The rest
depends on the lengths of the words: a start after a long word is too early, and a word that is found too long for its
letters begins too early. The start of a word after a pause is worse, because the attention reaches into the pause; there
the voice activity detector is more exact. `sca calibrate` measures these errors. Times are seconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Correction", "Times", "corrected", "lengths"]

Times = tuple[float, float]

_FARTHEST_S = 3.0
"""A start farther than this from an onset of speech is not moved to it: the word may be another one."""
_SHORTEST_S = 0.01
_TOUCHING_S = 0.05
"""The longest gap after which the word before counts."""
_MOST_LETTERS, _LONGEST_S = 10, 1.0
"""Longer words count like these."""
_LAST_LATIN = "\u024f"
"""The lengths of words in other scripts are not corrected: a letter there is another amount of speech."""
_USUAL = (4, 4, 0.25)
"""Letters before, letters and length of a usual word, for which `Correction.start_s` is the whole shift."""


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
        before_letter_s: Seconds for starts within speech, per letter of the word before.
        letter_s: The same, per letter of the word.
        length_share: The same, per second of the length that the model found.
    """

    start_s: float = 0.0
    end_s: float = 0.0
    onset_s: float = 0.0
    at_onsets: bool = True
    early_weight: float = 0.5
    before_letter_s: float = 0.0
    letter_s: float = 0.0
    length_share: float = 0.0


def corrected(
    words: Sequence[Times], speech: Sequence[Times], correction: Correction, texts: Sequence[str] = ()
) -> list[Times]:
    """Correct the times of words.

    Args:
        words: `(start, end)` of each word, by start.
        speech: Speech that the detector found, without margins; sorted and disjoint.
        correction: The correction.
        texts: The words as text. Without them, lengths are not corrected.

    Returns:
        As many times. No word starts before 0, before the word before it or before that word's end.
    """
    starts = [start + correction.start_s for start, _ in words]
    ends = [end + correction.end_s for _, end in words]
    moved: dict[int, float] = {}
    if correction.at_onsets:
        for onset, word in _first_words(list(zip(starts, ends, strict=True)), speech, correction.early_weight):
            if abs(starts[word] - onset) <= _FARTHEST_S:
                moved[word] = onset + correction.onset_s
    weights = (correction.before_letter_s, correction.letter_s, correction.length_share)
    if texts and any(weights):
        for word, found in enumerate(lengths(words, texts)):
            if found is not None:
                starts[word] += sum(weight * value for weight, value in zip(weights, found, strict=True))
    for word, start in moved.items():
        starts[word] = start
    return _in_order(starts, ends, [max(end - start, 0.0) for start, end in words])


def lengths(words: Sequence[Times], texts: Sequence[str]) -> list[tuple[float, float, float] | None]:
    """Return the letters of the word before, the letters and the length of each word, minus those of a usual word.

    A word after a gap has no word before. The result is None for words without Latin letters or digits.

    Args:
        words: `(start, end)` of each word, as the model found them.
        texts: The words.
    """
    letters = [_letters(text) for text in texts]
    found: list[tuple[float, float, float] | None] = []
    for n, ((start, end), own) in enumerate(zip(words, letters, strict=True)):
        touches = n > 0 and start - words[n - 1][1] < _TOUCHING_S
        before = letters[n - 1] if touches else 0
        if own is None or before is None:
            found.append(None)
        else:
            length = min(max(end - start, 0.0), _LONGEST_S)
            found.append((before - _USUAL[0], own - _USUAL[1], length - _USUAL[2]))
    return found


def _letters(text: str) -> int | None:
    """Return the number of letters and digits of a Latin word, at most 10; None for other words."""
    letters = [letter for letter in text if letter.isalnum()]
    return min(len(letters), _MOST_LETTERS) if letters and max(letters) <= _LAST_LATIN else None


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
