"""Speech start/stop detection for the Realtime API, from the probabilities of the Silero VAD."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.units import HEARD_HZ

__all__ = ["MIN_SPEECH_FRAMES", "SilenceDetector", "SpeechDetector", "SpeechEvent"]

_HYSTERESIS = 0.15  # speech continues down to this much below the threshold, as in Silero's own iterator
MIN_SPEECH_FRAMES = 3
"""About 100 ms; anything shorter is a click."""


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Speech started or stopped.

    Attributes:
        kind: Which of both.
        sample: Where, in samples at 16 kHz. This is before the sample at which it was detected.
    """

    kind: Literal["started", "stopped"]
    sample: int


class SpeechDetector(ABC):
    """Detects speech and the ends of turns in a stream of audio.

    Attributes:
        speaking: Whether a turn is going on.
    """

    def __init__(self, vad: SileroVad) -> None:
        """Create a detector.

        Args:
            vad: The VAD model.
        """
        self._vad = vad.stream()
        self.restart(0)

    def restart(self, start: int) -> None:
        """Begin a new stream.

        Args:
            start: The position of its first sample.
        """
        self._vad.reset()
        self._start = start
        self._frame = self._silent_frames = 0
        self.speaking = False

    @property
    @abstractmethod
    def in_speech(self) -> bool:
        """Whether a turn is going on, or may have started."""

    @property
    def is_asking(self) -> bool:
        """Whether the answer of a model is awaited."""
        return False

    @abstractmethod
    def push(self, samples: NDArray[np.float32]) -> Iterator[SpeechEvent]:
        """Process more audio and yield what was detected. The audio is processed as the iterator is consumed.

        Args:
            samples: Float32 `(n,)` at 16 kHz.

        Yields:
            The events, in order.
        """

    @abstractmethod
    def end(self) -> SpeechEvent | None:
        """End the turn, because no more audio came. The next audio continues the stream.

        Returns:
            The event, if a turn was going on.
        """

    def _stopped(self) -> SpeechEvent:
        return SpeechEvent("stopped", self._start + (self._frame - self._silent_frames) * FRAME_SAMPLES)


class SilenceDetector(SpeechDetector):
    """Ends a turn after a silence."""

    def __init__(self, vad: SileroVad, threshold: float, silence_ms: int) -> None:
        """Create a detector.

        Args:
            vad: The VAD model.
            threshold: The probability at which speech starts.
            silence_ms: The pause that ends a turn.
        """
        self._onset, self._offset = threshold, max(0.01, threshold - _HYSTERESIS)
        self._max_silent_frames = max(1, -(-silence_ms * HEARD_HZ // 1000 // FRAME_SAMPLES))
        super().__init__(vad)

    @override
    def restart(self, start: int) -> None:
        super().restart(start)
        self._speech_frames = 0

    @property
    @override
    def in_speech(self) -> bool:
        return self.speaking or self._speech_frames > 0

    @override
    def push(self, samples: NDArray[np.float32]) -> Iterator[SpeechEvent]:
        for probability in self._vad.push(samples).tolist():
            self._frame += 1
            if self.speaking:
                self._silent_frames = 0 if probability >= self._offset else self._silent_frames + 1
                if self._silent_frames >= self._max_silent_frames:
                    self.speaking, self._speech_frames = False, 0
                    yield self._stopped()
                continue
            is_speech = probability >= (self._offset if self._speech_frames else self._onset)
            self._speech_frames = self._speech_frames + 1 if is_speech else 0
            if self._speech_frames >= MIN_SPEECH_FRAMES:
                self.speaking, self._silent_frames = True, 0
                start = self._start + (self._frame - self._speech_frames) * FRAME_SAMPLES
                yield SpeechEvent("started", start)

    @override
    def end(self) -> SpeechEvent | None:
        was_speaking, self.speaking, self._speech_frames = self.speaking, False, 0
        return self._stopped() if was_speaking else None
