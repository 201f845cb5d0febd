"""Find the words that a server timed in the text that it spoke.

A server divides and normalises words in its own way: `don` and `'t`, `five` and `dollars` for `$5`. Words are compared by
their letters and digits. Timed words that are not in the text belong to the words of the text between their neighbours,
which share that time; such times are estimates.
"""

import re
from collections.abc import Iterator, Sequence

from sca.infer.speech.base import WordTime
from sca.infer.speech.openai.audio import Caption
from sca.units import seconds_to_samples

__all__ = ["CaptionMatcher"]

_AHEAD_WORDS = 5
"""A timed word is looked for in so many words of the text."""


class CaptionMatcher:
    """Matches the timed words of one clause, which arrive in order.

    Args:
        text: The clause.
        rate_hz: The rate of the audio.
    """

    def __init__(self, text: str, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._words = [(found[0], found.start()) for found in re.finditer(r"\S+", text) if _letters(found[0])]
        self._next = 0
        self._rest = ""  # letters of the word in hand that were not timed yet
        self._span: tuple[float, float] | None = None  # of the word in hand
        self._strangers: list[Caption] = []

    def push(self, captions: Sequence[Caption]) -> Iterator[WordTime]:
        """Yield the words whose times are known now.

        Args:
            captions: The next timed words.
        """
        for caption in captions:
            letters = _letters(caption.word)
            if not letters:
                continue
            if self._span is not None and self._rest.startswith(letters):
                self._span = (self._span[0], caption.end_time)
                self._rest = self._rest[len(letters) :]
            else:
                yield from self._complete()
                yield from self._find(caption, letters)
            if self._span is not None and not self._rest:
                yield from self._complete()

    def finish(self, end_s: float) -> Iterator[WordTime]:
        """Yield the words that are left.

        Args:
            end_s: The length of the audio.
        """
        yield from self._complete()
        yield from self._between(len(self._words), end_s)

    def _find(self, caption: Caption, letters: str) -> Iterator[WordTime]:
        for number in range(self._next, min(self._next + _AHEAD_WORDS, len(self._words))):
            written = _letters(self._words[number][0])
            if written.startswith(letters) or letters.startswith(written):
                yield from self._between(number, caption.start_time)
                self._span, self._rest = (caption.start_time, caption.end_time), written[len(letters) :]
                return
        self._strangers.append(caption)

    def _complete(self) -> Iterator[WordTime]:
        if self._span is not None:
            yield self._time(self._next, *self._span, is_estimated=False)
            self._next += 1
            self._span, self._rest = None, ""

    def _between(self, until: int, end_s: float) -> Iterator[WordTime]:
        """Yield the words before `until`, which share the time of the strangers, or have none."""
        count = until - self._next
        if count:
            first = self._strangers[0].start_time if self._strangers else end_s
            last = max(self._strangers[-1].end_time, first) if self._strangers else end_s
            for step in range(count):
                edges = (first + (last - first) * (step + part) / count for part in (0, 1))
                yield self._time(self._next + step, *edges, is_estimated=True)
            self._next = until
        self._strangers.clear()

    def _time(self, number: int, start_s: float, end_s: float, *, is_estimated: bool) -> WordTime:
        word, start_char = self._words[number]
        start = seconds_to_samples(start_s, self._rate_hz)
        end = max(seconds_to_samples(end_s, self._rate_hz), start + 1)
        return WordTime(word, start_char, start_char + len(word), start, end, is_estimated)


def _letters(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())
