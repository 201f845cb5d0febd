"""Word times, estimated while the audio arrives, for models that do not report them.

Sound is heard in frames of 10 ms that are loud or quiet. The letters of the unit are spread over the loud time: a word
starts when as much loud time has passed as the letters before it take at the rate of this voice. The rate is a constant
at first, and after a unit that of the units before, so a slow voice is followed. Words that have not started when a unit
is complete start with the pause after it. Times are marked as estimates (`WordTime.is_estimated`).
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.infer.speech.base import UnitSound, WordTime
from sca.units import seconds_to_samples

__all__ = ["UnitClock", "WordClock"]

_FRAME_S = 0.01
_LOUD = 0.02
"""Share of full scale at which a frame is loud, if the voice is not quieter."""

_LETTERS_PER_S = 22.0
"""Letters, digits and word boundaries per second of loud sound at first: in English espeak has 21 and Piper 25."""

_EDGE_LETTERS = 1
"""The boundary of a word counts as a letter, so that "a" and "I" have a length."""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start_char: int
    letters_before: int
    letters: int


class WordClock:
    """The rate of a voice, over the units of a speech.

    Args:
        rate_hz: The rate of the audio.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._letters = 0
        self._loud_s = 0.0

    @property
    def letters_per_s(self) -> float:
        """Letters per second of loud sound."""
        return self._letters / self._loud_s if self._loud_s else _LETTERS_PER_S

    def unit(self, text: str) -> "UnitClock":
        """Return the clock of the next unit."""
        return UnitClock(self, text, self._rate_hz)

    def count(self, letters: int, loud_s: float) -> None:
        """Count a complete unit."""
        if letters and loud_s:
            self._letters += letters
            self._loud_s += loud_s


class UnitClock:
    """Gives the words of one unit their times: push its audio in pieces, then finish with the pause after it.

    Args:
        clock: The rate of the voice.
        text: The unit.
        rate_hz: The rate of the audio.

    Attributes:
        has_words: Whether there is something to speak.
        skipped: Words without letters that are more than punctuation, such as emoji.
    """

    def __init__(self, clock: WordClock, text: str, rate_hz: int) -> None:
        self._clock = clock
        self._frame = max(seconds_to_samples(_FRAME_S, rate_hz), 1)
        self._words = list(_words(text))
        self.has_words = bool(self._words)
        self.skipped = tuple(word for word in text.split() if _is_sign(word))
        self._letters_per_frame = clock.letters_per_s * _FRAME_S
        self._given = 0
        self._at = 0  # samples before the next piece
        self._loud = 0  # loud frames before it
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: NDArray[np.float32]) -> tuple[WordTime, ...]:
        """Return the words that start in a piece.

        Args:
            samples: The piece, `(n,)`.
        """
        first = self._at
        heard = np.concatenate([self._rest, samples])
        whole = len(heard) // self._frame * self._frame
        frames = np.abs(heard[:whole]).reshape(-1, self._frame)
        loud = self._loud + np.cumsum(frames.max(1, initial=0) > _LOUD)
        begun = first - len(self._rest)
        self._rest = heard[whole:]
        self._at += len(samples)
        found: list[tuple[_Word, int]] = []
        for word in self._words[self._given :]:
            place = int(np.searchsorted(loud, word.letters_before / self._letters_per_frame, "right"))
            if place == len(loud):
                break
            found.append((word, max(begun + place * self._frame, first)))
        self._loud = int(loud[-1]) if len(loud) else self._loud
        self._given += len(found)
        return self._times(found)

    def finish(self, pause: int) -> UnitSound:
        """Return the pause after the unit, with the words that have not started, at its beginning.

        Args:
            pause: Samples of the pause, at least 1.
        """
        rest = [(word, self._at) for word in self._words[self._given :]]
        self._clock.count(sum(word.letters for word in self._words), self._loud * _FRAME_S)
        return UnitSound(np.zeros(pause, np.float32), self._times(rest), self.skipped)

    def _times(self, found: Sequence[tuple[_Word, int]]) -> tuple[WordTime, ...]:
        times = []
        for number, (word, start) in enumerate(found):
            length = max(round(word.letters / self._letters_per_frame), 1) * self._frame
            following = found[number + 1][1] if number + 1 < len(found) else start + length
            end = max(min(start + length, following), start + 1)
            times.append(WordTime(word.text, word.start_char, word.start_char + len(word.text), start, end, True))
        return tuple(times)


def _words(text: str) -> Iterator[_Word]:
    """Yield the words that have letters or digits, with the letters before each one."""
    before = 0
    for found in re.finditer(r"\S+", text):
        letters = sum(c.isalnum() for c in found[0])
        if letters:
            yield _Word(found[0], found.start(), before, letters + _EDGE_LETTERS)
            before += letters + _EDGE_LETTERS


def _is_sign(word: str) -> bool:
    return not any(c.isalnum() for c in word) and any(unicodedata.category(c) == "So" for c in word)
