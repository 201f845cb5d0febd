"""What a recogniser gets wrong in known ways, found and mended before it becomes data. Pure functions on words and speech spans.

Whisper repeats itself on music and noise, writes text where nobody speaks, starts a phrase's first word long before it is
said, and gives words no duration. Each guard says how often it acted; none invents text. Times are seconds, sorted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["GUARDS", "RecognizedWord", "Speech", "guard_words", "phrases", "text_of"]

GUARDS = ("repeated", "on_silence", "too_fast", "pulled_into_silence", "no_duration")
"""Words taken out as repetitions, words on silence, words in phrases faster than speech, starts clamped, durations given."""

MAX_CHARS_PER_S = 25.0
MAX_REPEATS = {1: 5, 2: 3, 3: 3, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2}
"""How often in a row an n-gram of so many words may stand. People do say `no no no no`; nobody says five words thrice."""
LONG_SILENCE_S = 0.5
SHORTEST_WORD_S = 0.02
PAUSE_S = 0.3
_NEAR_S = 0.2
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A recognised word; `text` keeps the space before it, as the recogniser writes it."""

    text: str
    start: float
    end: float
    probability: float


class Speech:
    """Where somebody speaks, by a VAD: spans in seconds, sorted and apart from each other."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        self.starts = np.asarray([start for start, _ in spans], np.float64)
        self.ends = np.asarray([end for _, end in spans], np.float64)

    def overlaps(self, start: float, end: float) -> bool:
        """Whether any speech is nearer than 0.2 s to the span: a VAD's edges are no sharper than that."""
        first = int(np.searchsorted(self.ends, start - _NEAR_S, "right"))
        return first < len(self.starts) and bool(self.starts[first] < end + _NEAR_S)

    def onset(self, start: float) -> float:
        """Where speech sets in at or after `start`: `start` itself where somebody speaks, and where nobody does any more."""
        at = int(np.searchsorted(self.ends, start, "right"))
        return start if at == len(self.starts) else max(start, float(self.starts[at]))


def guard_words(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Apply every guard to the words of one recording, in the order of their times. Adds to `counts`, by the names of `GUARDS`."""
    kept = _once(words, counts)
    kept = _lasting(kept, counts)
    kept = _spoken(kept, speech, counts)
    kept = _from_onset(kept, speech, counts)
    return [word for phrase in phrases(kept) if not _too_fast(phrase, counts) for word in phrase]


def phrases(words: Sequence[RecognizedWord]) -> Iterator[list[RecognizedWord]]:
    """Cut words into phrases: at pauses of 0.3 s and after the end of a sentence."""
    phrase: list[RecognizedWord] = []
    for word in words:
        if phrase and (word.start - phrase[-1].end >= PAUSE_S or phrase[-1].text.rstrip().endswith(_SENTENCE_ENDS)):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def text_of(words: Sequence[RecognizedWord]) -> str:
    """Words as one text, without the space before the first."""
    return "".join(word.text for word in words).strip()


def _once(words: Sequence[RecognizedWord], counts: Counter[str]) -> list[RecognizedWord]:
    """Of an n-gram said more often in a row than people do, keep the first: the rest is a decoder in a loop."""
    plain = [word.text.strip().lower().strip(".,!?…-") for word in words]
    kept: list[RecognizedWord] = []
    at = 0
    while at < len(words):
        size, repeats = _loop(plain, at)
        kept += words[at : at + size]
        counts["repeated"] += size * (repeats - 1)
        at += size * repeats
    return kept


def _loop(plain: Sequence[str], at: int) -> tuple[int, int]:
    """The shortest n-gram that loops from `at` on, and how often it stands there; (1, 1) when none does."""
    for size, most in MAX_REPEATS.items():
        gram = plain[at : at + size]
        repeats = 1
        while plain[at + repeats * size : at + (repeats + 1) * size] == gram:
            repeats += 1
        if repeats > most and len(gram) == size:
            return size, repeats
    return 1, 1


def _lasting(words: Sequence[RecognizedWord], counts: Counter[str]) -> list[RecognizedWord]:
    """Words one after another, each with a duration: one without gets what there is until the next, 0.02 to 0.1 s."""
    mended: list[RecognizedWord] = []
    for i, word in enumerate(words):
        start = max(word.start, mended[-1].end) if mended else word.start
        end = word.end
        if end - start < SHORTEST_WORD_S:
            counts["no_duration"] += word.end - word.start < SHORTEST_WORD_S
            room = words[i + 1].start - start if i + 1 < len(words) else 0.1
            end = start + max(SHORTEST_WORD_S, min(0.1, room))
        mended.append(replace(word, start=round(start, 3), end=round(end, 3)))
    return mended


def _spoken(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Take out phrases during which nobody speaks."""
    kept: list[RecognizedWord] = []
    for phrase in phrases(words):
        if speech.overlaps(phrase[0].start, phrase[-1].end):
            kept += phrase
        else:
            counts["on_silence"] += len(phrase)
    return kept


def _from_onset(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Start a phrase's first word no earlier than the speech it is part of, where a long silence lies between."""
    mended: list[RecognizedWord] = []
    for phrase in phrases(words):
        first = phrase[0]
        onset = speech.onset(first.start)
        if onset - first.start > LONG_SILENCE_S and onset < first.end:
            counts["pulled_into_silence"] += 1
            phrase[0] = replace(first, start=round(min(onset, first.end - SHORTEST_WORD_S), 3))
        mended += phrase
    return mended


def _too_fast(phrase: Sequence[RecognizedWord], counts: Counter[str]) -> bool:
    """More than 25 letters a second: a text that was not said in this time."""
    seconds = phrase[-1].end - phrase[0].start
    if len(text_of(phrase)) <= MAX_CHARS_PER_S * seconds:
        return False
    counts["too_fast"] += len(phrase)
    return True
