"""The interface of a speech engine: text in, in any pieces; audio with word times out, as soon as it is there.

Positions in audio are samples since the start of the speech, positions in text are characters since its start. An
engine whose model works on whole clauses derives its voice from `UnitVoice`, which cuts text and audio; an engine that
returns the audio of a clause piece by piece derives it from `PieceVoice`; others implement `SpeechVoice`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.speech.clauses import ClauseCutter, Unit

__all__ = [
    "CHUNK_MS",
    "CheckedEngine",
    "DefaultVoice",
    "PieceVoice",
    "RepeatableEngine",
    "SpeechChunk",
    "SpeechEngine",
    "SpeechVoice",
    "UnitSound",
    "UnitVoice",
    "VoiceInfo",
    "WordTime",
]

CHUNK_MS = 100
"""The length of a chunk of a `PieceVoice`; the last one of a clause is shorter."""


@dataclass(frozen=True, slots=True)
class WordTime:
    """A spoken word.

    Attributes:
        text: The word as it is written, with its punctuation: a stretch without white space.
        start_char: Where it starts in the text.
        end_char: Where it ends in the text, exclusive.
        start_sample: Where its sound starts.
        end_sample: Where its sound ends, exclusive.
        is_estimated: Whether both are estimates, because the model does not report them (`estimated_words`).
    """

    text: str
    start_char: int
    end_char: int
    start_sample: int
    end_sample: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of speech.

    Attributes:
        samples: Float32 mono `(n,)` in [-1, 1].
        sample_rate: The rate in Hz, the same in all chunks.
        words: The words whose sound starts in this chunk. Their ends may be in a later chunk.
        skipped: Words of the text that the voice cannot speak, found since the chunk before.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    words: tuple[WordTime, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice of an engine.

    Attributes:
        name: The name that `SpeechEngine.open` accepts.
        language: The language code, such as `en-us`.
        title: One line about it.
    """

    name: str
    language: str
    title: str


class SpeechVoice(Protocol):
    """An open voice. It speaks one text at a time; another thread may call `cancel`.

    Attributes:
        sample_rate: The rate of the audio, in Hz.
    """

    @property
    def sample_rate(self) -> int:
        """The rate of the audio, in Hz."""
        ...

    def speak(self, text: str | Iterable[str]) -> Iterator[SpeechChunk]:
        """Speak a text.

        The chunks do not depend on how the text is divided into pieces, nor on when the pieces arrive.

        Args:
            text: The text, or its pieces in order. An iterator may block until more text is known; what is complete
                is spoken before the next piece is requested.

        Yields:
            The audio in order. Closing the iterator, or `cancel`, ends the speech after the current chunk.
        """
        ...

    def cancel(self) -> None:
        """End the speech that is in progress: at most the chunk in hand is still returned."""
        ...

    def close(self) -> None:
        """Release what the voice holds. A second call has no effect."""
        ...


@runtime_checkable
class SpeechEngine(Protocol):
    """A program or model that speaks.

    Attributes:
        name: The name in the registry.
    """

    name: str

    def voices(self) -> Sequence[VoiceInfo]:
        """Return the voices that can be opened.

        Raises:
            MissingToolError: The engine needs something that is not installed.
        """
        ...

    def open(self, voice: str | None = None) -> SpeechVoice:
        """Open a voice.

        Args:
            voice: The name of a voice; None opens the default voice.

        Raises:
            UsageError: The voice does not exist.
            MissingToolError: The engine needs something that is not installed.
        """
        ...


@runtime_checkable
class CheckedEngine(Protocol):
    """An engine that can be checked before a voice is opened."""

    def check(self) -> None:
        """Return if a voice can be opened.

        Raises:
            ScaError: Something is missing; the hint names the command or the setting that provides it.
        """
        ...


@runtime_checkable
class DefaultVoice(Protocol):
    """An engine that names its default voice."""

    @property
    def default_voice(self) -> str:
        """The voice that `open` opens without a name."""
        ...


@runtime_checkable
class RepeatableEngine(Protocol):
    """A `SpeechEngine` whose speech depends on the texts that it spoke before."""

    def repeatable(self) -> AbstractContextManager[SpeechEngine]:
        """Return an engine without a history: the same texts in the same order give the same samples every time."""
        ...


@dataclass(frozen=True, slots=True)
class UnitSound:
    """The speech of one unit of text, or a piece of it.

    Attributes:
        samples: Float32 mono `(n,)`.
        words: The words that start in these samples, with positions in the unit and its samples, in order.
        skipped: Words that were not spoken.
    """

    samples: NDArray[np.float32]
    words: tuple[WordTime, ...]
    skipped: tuple[str, ...] = ()


class PieceVoice(SpeechVoice, ABC):
    """A voice that synthesises one unit of text (a clause or a sentence) at a time, in one or several pieces.

    Args:
        sample_rate: The rate of the audio, in Hz.
        sentences: Whether units after the first one are whole sentences; otherwise every unit is a clause.
    """

    def __init__(self, sample_rate: int, *, sentences: bool) -> None:
        self._rate_hz = sample_rate
        self._sentences = sentences
        self._speech = threading.Event()  # set when the speech in progress is cancelled

    @property
    @override
    def sample_rate(self) -> int:
        return self._rate_hz

    @abstractmethod
    def pieces(self, text: str, cancelled: threading.Event) -> Generator[UnitSound, None, None]:
        """Yield the speech of a unit, including the pause after it.

        Args:
            text: The unit.
            cancelled: Set when the speech was cancelled. The generator should then return soon; it is also closed.
        """

    @override
    def cancel(self) -> None:
        self._speech.set()

    @override
    def close(self) -> None:
        self.cancel()

    @override
    def speak(self, text: str | Iterable[str]) -> Iterator[SpeechChunk]:
        self._speech = cancelled = threading.Event()
        return self._chunks([text] if isinstance(text, str) else text, cancelled)

    def _chunks(self, pieces: Iterable[str], cancelled: threading.Event) -> Iterator[SpeechChunk]:
        at = 0
        for unit in _units(pieces, ClauseCutter(sentences=self._sentences)):
            if cancelled.is_set():
                return
            unit_at = at
            with closing(self.pieces(unit.text, cancelled)) as sounds:
                for sound in sounds:
                    words = tuple(_moved(word, unit.start_char, unit_at) for word in sound.words)
                    for chunk in _cut(sound, words, at, self._rate_hz):
                        if cancelled.is_set():
                            return
                        yield chunk
                    at += len(sound.samples)


class UnitVoice(PieceVoice):
    """A voice that synthesises one unit of text at a time, as a whole.

    Args:
        sample_rate: The rate of the audio, in Hz.
        sentences: Whether units after the first one are whole sentences; otherwise every unit is a clause.
    """

    @abstractmethod
    def synthesise(self, text: str) -> UnitSound:
        """Return the speech of a unit, including the pause after it. The result depends on the text alone."""

    @override
    def pieces(self, text: str, cancelled: threading.Event) -> Generator[UnitSound, None, None]:
        yield self.synthesise(text)


def _units(pieces: Iterable[str], cutter: ClauseCutter) -> Iterator[Unit]:
    for piece in pieces:
        yield from cutter.push(piece)
    yield from cutter.flush()


def _moved(word: WordTime, characters: int, samples: int) -> WordTime:
    return replace(
        word,
        start_char=word.start_char + characters,
        end_char=word.end_char + characters,
        start_sample=word.start_sample + samples,
        end_sample=word.end_sample + samples,
    )


def _cut(sound: UnitSound, words: Sequence[WordTime], first: int, rate_hz: int) -> Iterator[SpeechChunk]:
    """Divide the sound of a unit that starts at the sample `first`. A unit without sound still reports its words."""
    size = rate_hz * CHUNK_MS // 1000
    skipped = sound.skipped
    for at in range(0, len(sound.samples) or int(bool(skipped)), size):
        starts = range(first + at, first + at + size)
        inside = tuple(word for word in words if word.start_sample in starts)
        yield SpeechChunk(sound.samples[at : at + size], rate_hz, inside, skipped)
        skipped = ()
