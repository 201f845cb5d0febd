"""What a decoder makes of a window of audio, and which of its words are committed: pure functions.

A word is committed by the alignment of its tokens with the audio: the end of its sound has to be a margin before the end
of the window, so that the sound after it is known. That is the policy AlignAtt (Papi et al. 2023, "AlignAtt"; Machacek
and Polak 2025, "SimulStreaming"), applied to whole words. A decoder without an alignment commits what two consecutive
hypotheses have in common: LocalAgreement-2 (Liu et al. 2020; Machacek et al. 2023, "Whisper-Streaming").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeardWord", "Hypothesis", "WindowDecoder", "WindowPrompt", "agreed", "aligned", "repeat_start"]


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word of a hypothesis.

    Attributes:
        text: The word with the white space before it and its punctuation.
        tokens: Its tokens.
        start_sample: Where its sound starts in the window.
        end_sample: Where its sound ends in the window, exclusive.
        probability: The mean probability of its tokens.
    """

    text: str
    tokens: tuple[int, ...]
    start_sample: int
    end_sample: int
    probability: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The words of a window after those that were given as prefix.

    Attributes:
        words: The words in order.
        is_aligned: Whether their times are from an alignment with the audio, and not estimated.
    """

    words: tuple[HeardWord, ...] = ()
    is_aligned: bool = True


@dataclass(frozen=True, slots=True)
class WindowPrompt:
    """What is known before a window is decoded.

    Attributes:
        prefix: The tokens of the words at the beginning of the window that are committed. The hypothesis continues them.
        context: The tokens of the words before the window.
        open_samples: The audio from the committed words to the end of the speech.
        speech_end_sample: Where the speech ends in the window, before silence.
    """

    prefix: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    open_samples: int = 0
    speech_end_sample: int = 0


class WindowDecoder(Protocol):
    """A model that recognizes a window of audio."""

    def decode(self, window: NDArray[np.float32], prompt: WindowPrompt) -> Hypothesis:
        """Recognize a window.

        Args:
            window: Float32 mono `(n,)` at 16 kHz, at most 30 s.
            prompt: What is known before.

        Raises:
            ScaError: The model failed.
        """
        ...


def aligned(words: Sequence[HeardWord], limit_samples: int) -> int:
    """Return how many words end at or before a position in the window, up to the first one that does not."""
    return len(list(takewhile(lambda word: word.end_sample <= limit_samples, words)))


def agreed(words: Sequence[HeardWord], before: Sequence[HeardWord]) -> int:
    """Return how many words are equal in two consecutive hypotheses, from the first one on."""
    pairs = zip(words, before, strict=False)
    return len(list(takewhile(lambda pair: _bare(pair[0].text) == _bare(pair[1].text), pairs)))


def repeat_start(words: Sequence[str], first: int) -> int:
    """Return where a text may begin to repeat itself; the number of words if it does not.

    That is the first word, from `first` on, that follows itself, or with which three words (or the last two) begin that
    occurred before. A decoder at the end of its audio repeats its words; a speaker does so too, so the sound has to
    decide.

    Args:
        words: The words of the window.
        first: The first word that may be a repetition.
    """
    bare = [_bare(word) for word in words]
    for at in range(max(first, 1), len(bare)):
        phrase = bare[at : at + 3]
        occurred = len(phrase) > 1 and any(bare[start : start + len(phrase)] == phrase for start in range(at))
        if occurred or bare[at] == bare[at - 1]:
            return at
    return len(bare)


def _bare(text: str) -> str:
    return text.strip(" .,;:?!…。，？！").casefold()
