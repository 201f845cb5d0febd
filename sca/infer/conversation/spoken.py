"""An answer as it is spoken: its text, its sound, the words with their times, and how much of it was played.

Sound is int16 at 24 kHz. Positions in it are samples since the start of the answer; positions in the text are
characters.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from sca.infer.speech.base import WordTime
from sca.units import SPOKEN_HZ

__all__ = ["SpokenAnswer", "at_output_rate"]


def at_output_rate(word: WordTime, rate_hz: int) -> WordTime:
    """Return a word with its times at 24 kHz, rounded half up."""
    start, end = ((2 * at * SPOKEN_HZ + rate_hz) // (2 * rate_hz) for at in (word.start_sample, word.end_sample))
    return WordTime(word.text, word.start_char, word.end_char, start, end)


class SpokenAnswer:
    """One answer.

    Attributes:
        text: The text of the model so far.
        complete: Whether text and sound are complete.
        taken_samples: How much of the sound `take` has returned.
    """

    def __init__(self) -> None:
        self.text = ""
        self.complete = False
        self.taken_samples = 0
        self._sound = bytearray()
        self._words: list[WordTime] = []
        self._shown_chars = 0
        self._played: int | None = None

    @property
    def words(self) -> Sequence[WordTime]:
        """The words with their times so far."""
        return self._words

    @property
    def waiting_samples(self) -> int:
        """The length of the sound that was not taken yet."""
        return len(self._sound) // 2

    @property
    def is_taken(self) -> bool:
        """Whether all sound was taken."""
        return self.complete and not self._sound and self._shown_chars == len(self.text)

    def add_text(self, piece: str) -> None:
        """Add text of the model."""
        self.text += piece

    def add_sound(self, pcm: bytes, words: Sequence[WordTime]) -> None:
        """Add sound, and the words that start in it."""
        self._sound += pcm
        self._words += words

    def take(self, samples: int) -> tuple[bytes, str]:
        """Take the next piece of the sound and the text of the words that start in it.

        The texts of all pieces, joined, are the text of the answer. The last piece is shorter, and is empty if the
        voice cannot speak the text.
        """
        pcm = bytes(self._sound[: 2 * samples])
        del self._sound[: 2 * samples]
        self.taken_samples += len(pcm) // 2
        if self.complete and not self._sound:
            until = len(self.text)
        else:
            started = bisect_left(self._words, self.taken_samples, key=_start)
            until = self._words[started - 1].end_char if started else 0
        first, self._shown_chars = self._shown_chars, max(until, self._shown_chars)
        return pcm, self.text[first : self._shown_chars]

    def set_played(self, samples: int) -> None:
        """Set how much of the sound was played before the answer was cut."""
        self._played = samples

    @property
    def heard_text(self) -> str:
        """The text that was played: all of it, or up to the last word that was played to its end."""
        played = self.taken_samples if self._played is None else self._played
        if self._is_whole(played):
            return self.text.strip()
        ends = np.maximum.accumulate([word.end_sample for word in self._words] or [0])
        heard = bisect_right(ends, played) if self._words else 0
        return self.text[: self._words[heard - 1].end_char].strip() if heard else ""

    def _is_whole(self, played: int) -> bool:
        if not self.complete or self._sound:
            return False
        return played >= (self._words[-1].end_sample if self._words else self.taken_samples)


def _start(word: WordTime) -> int:
    return word.start_sample
