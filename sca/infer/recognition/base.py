"""The interface of a recognizer: audio in, in chunks of any size; committed words with their times out.

Audio is float32 mono at 16 kHz, and positions are samples since `start_processing`. A word that has been committed does
not change. The text after the committed words, `Recognition.tail`, may change with every chunk.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["CommittedWord", "Recognition", "Recognizer", "RecognizerEngine"]


@dataclass(frozen=True, slots=True)
class CommittedWord:
    """A recognized word that does not change any more.

    Attributes:
        text: The word with its punctuation, without white space.
        start_sample: Where its sound starts.
        end_sample: Where its sound ends, exclusive.
        probability: The probability of the word, from 0 to 1; 1 if the recognizer has none.
    """

    text: str
    start_sample: int
    end_sample: int
    probability: float


@dataclass(frozen=True, slots=True)
class Recognition:
    """What is recognized at one moment.

    Attributes:
        words: The committed words in order. Each later result starts with the same words.
        tail: Text after the committed words that may still change; empty in a final result.
        audio_samples: The length of the audio that this result takes into account.
        is_final: Whether the audio has ended and everything is recognized.
        is_settled: Whether the speech pauses at the end of this audio, and everything before the pause is recognized;
            false in a final result.
    """

    words: tuple[CommittedWord, ...] = ()
    tail: str = ""
    audio_samples: int = 0
    is_final: bool = False
    is_settled: bool = False

    @property
    def text(self) -> str:
        """The committed words, joined by spaces."""
        return " ".join(word.text for word in self.words)


class Recognizer(Protocol):
    """The recognizer of one stream of audio, which works in a thread of its own.

    One utterance is `start_processing`, any number of `put_audio_chunk`, `finish`, `get_final`; the next utterance
    begins with `start_processing` again. All methods may be called by any thread.
    """

    def start_processing(self) -> None:
        """Begin a new utterance at sample 0. An utterance that is in progress is discarded.

        Raises:
            UsageError: The recognizer is closed.
        """
        ...

    def put_audio_chunk(self, samples: NDArray[np.float32]) -> None:
        """Add audio and return at once.

        Args:
            samples: Float32 mono `(n,)` at 16 kHz; any length, also 0. They are copied.

        Raises:
            InputError: The samples have another type or shape, or are not finite.
            UsageError: No utterance is in progress.
            ScaError: The recognizer failed, or so much audio is waiting for it that its buffer is full.
        """
        ...

    def finish(self) -> None:
        """Declare that the utterance has no more audio, and return at once. A second call has no effect."""
        ...

    def get_latest_partial(self) -> Recognition:
        """Return the newest result at once. Before the first one, it is empty.

        Raises:
            ScaError: The recognizer failed.
        """
        ...

    def get_final(self, timeout_s: float | None = None) -> Recognition:
        """Wait for the final result of the utterance; `finish` must have been called.

        Args:
            timeout_s: How long to wait; None waits until the result is there.

        Raises:
            UsageError: `finish` was not called, or the recognizer was closed.
            TimeoutError: The result is not there yet. It can be requested again.
            ScaError: The recognizer failed.
        """
        ...

    def close(self) -> None:
        """End the work and release what the recognizer holds. A second call has no effect."""
        ...


@runtime_checkable
class RecognizerEngine(Protocol):
    """A loaded model, or the address of a server, that any number of recognizers share.

    Attributes:
        name: The name for display: the model, or the name in the registry.
    """

    name: str

    def open(self) -> Recognizer:
        """Return a recognizer for one stream.

        Raises:
            ScaError: It cannot be opened.
        """
        ...
