"""Guards against the known errors of Whisper. They are pure functions on words and speech spans; none adds text.

Whisper repeats itself on music and noise, writes text where no speech is, starts the first word of a phrase long before
the speech begins, and gives words no duration. Each guard counts how often it acted. Times are seconds, sorted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["GUARDS", "RecognizedWord", "Speech", "guard_words", "phrases", "text_of"]

GUARDS = ("repeated", "on_silence", "too_fast", "pulled_into_silence", "no_duration")
"""The counters: words removed as repetitions, on silence and as too fast; starts moved; durations given."""

MAX_CHARS_PER_S = 25.0
MAX_REPEATS = {1: 5, 2: 3, 3: 3, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2}
"""How often in a row an n-gram of so many words may occur.

People do repeat `no no no no`, but not five words three times.
"""
LONG_SILENCE_S = 0.5
SHORTEST_WORD_S = 0.02
LONGEST_GIVEN_S = 0.1
PAUSE_S = 0.3
_VAD_TOLERANCE_S = 0.2
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A recognized word.

    Attributes:
        text: The word with the space before it, as the recognizer writes it.
        start: The start in seconds.
        end: The end in seconds.
        probability: The probability that the word is right.
    """

    text: str
    start: float
    end: float
    probability: float


class Speech:
    """Where a VAD found speech."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        """Create from spans `(start, end)` in seconds, sorted and disjoint."""
        self.starts = np.asarray([start for start, _ in spans], np.float64)
        self.ends = np.asarray([end for _, end in spans], np.float64)

    def overlaps(self, start: float, end: float) -> bool:
        """Return whether speech is within 0.2 s of the span.

        The edges that a VAD finds are not more precise than that.
        """
        first = int(np.searchsorted(self.ends, start - _VAD_TOLERANCE_S, "right"))
        return first < len(self.starts) and bool(self.starts[first] < end + _VAD_TOLERANCE_S)

    def onset(self, start: float) -> float:
        """Return where speech begins at or after `start`; `start` itself inside speech and after the last speech."""
        at = int(np.searchsorted(self.ends, start, "right"))
        return start if at == len(self.starts) else max(start, float(self.starts[at]))


def guard_words(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Apply every guard to the words of one recording.

    Args:
        words: The words, sorted by time.
        speech: Where speech is.
        counts: Counter to which the actions are added, by the names of `GUARDS`.

    Returns:
        The words that are left, with corrected times.
    """
    kept = _without_loops(words, counts)
    kept = _with_durations(kept, counts)
    kept = _near_speech(kept, speech, counts)
    kept = _from_onset(kept, speech, counts)
    return [word for phrase in phrases(kept) if not _is_too_fast(phrase, counts) for word in phrase]


def phrases(words: Sequence[RecognizedWord]) -> Iterator[list[RecognizedWord]]:
    """Cut words into phrases, at pauses of 0.3 s and after the end of a sentence."""
    phrase: list[RecognizedWord] = []
    for word in words:
        if phrase and (word.start - phrase[-1].end >= PAUSE_S or phrase[-1].text.rstrip().endswith(_SENTENCE_ENDS)):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def text_of(words: Sequence[RecognizedWord]) -> str:
    """Return words as one text, without the space before the first."""
    return "".join(word.text for word in words).strip()


def _without_loops(words: Sequence[RecognizedWord], counts: Counter[str]) -> list[RecognizedWord]:
    """Keep the first of an n-gram that is repeated more often than in speech: the decoder was in a loop."""
    normalized = [word.text.strip().lower().strip(".,!?…-") for word in words]
    kept: list[RecognizedWord] = []
    at = 0
    while at < len(words):
        size, repeats = _loop_at(normalized, at)
        kept += words[at : at + size]
        counts["repeated"] += size * (repeats - 1)
        at += size * repeats
    return kept


def _loop_at(normalized: Sequence[str], at: int) -> tuple[int, int]:
    """Return the size of the shortest n-gram that loops from `at` on, and its repeats; (1, 1) if none does."""
    for size, max_repeats in MAX_REPEATS.items():
        gram = normalized[at : at + size]
        repeats = 1
        while normalized[at + repeats * size : at + (repeats + 1) * size] == gram:
            repeats += 1
        if repeats > max_repeats and len(gram) == size:
            return size, repeats
    return 1, 1


def _with_durations(words: Sequence[RecognizedWord], counts: Counter[str]) -> list[RecognizedWord]:
    """Make words disjoint.

    A word without a duration gets the time until the next one, at least 0.02 and at most 0.1 s.
    """
    corrected: list[RecognizedWord] = []
    for i, word in enumerate(words):
        start = max(word.start, corrected[-1].end) if corrected else word.start
        end = word.end
        if end - start < SHORTEST_WORD_S:
            counts["no_duration"] += word.end - word.start < SHORTEST_WORD_S
            available = words[i + 1].start - start if i + 1 < len(words) else LONGEST_GIVEN_S
            end = start + max(SHORTEST_WORD_S, min(LONGEST_GIVEN_S, available))
        corrected.append(replace(word, start=round(start, 3), end=round(end, 3)))
    return corrected


def _near_speech(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Remove phrases during which no speech is."""
    kept: list[RecognizedWord] = []
    for phrase in phrases(words):
        if speech.overlaps(phrase[0].start, phrase[-1].end):
            kept += phrase
        else:
            counts["on_silence"] += len(phrase)
    return kept


def _from_onset(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Move the start of a phrase's first word to the onset of speech, if a long silence is before it."""
    corrected: list[RecognizedWord] = []
    for phrase in phrases(words):
        first = phrase[0]
        onset = speech.onset(first.start)
        if onset - first.start > LONG_SILENCE_S and onset < first.end:
            counts["pulled_into_silence"] += 1
            phrase[0] = replace(first, start=round(min(onset, first.end - SHORTEST_WORD_S), 3))
        corrected += phrase
    return corrected


def _is_too_fast(phrase: Sequence[RecognizedWord], counts: Counter[str]) -> bool:
    """Return whether a phrase has more than 25 letters per second, which is faster than speech."""
    seconds = phrase[-1].end - phrase[0].start
    if len(text_of(phrase)) <= MAX_CHARS_PER_S * seconds:
        return False
    counts["too_fast"] += len(phrase)
    return True
