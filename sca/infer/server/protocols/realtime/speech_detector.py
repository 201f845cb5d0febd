"""When does a client begin and stop to speak? The Silero VAD's probabilities as the two events of the realtime door.

Knows no protocol; counts in samples at 16 kHz since the stream began.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sca.audio.vad import FRAME_SAMPLES, SileroVad

__all__ = ["SpeechDetector", "SpeechEdge"]

_HYSTERESIS = 0.15  # speech goes on down to so much below the threshold, as in Silero's own iterator
_LEAST_FRAMES = 3  # about 100 ms: a click is no speech


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech began or stopped.   sample: where, which lies before where it was noticed."""

    kind: Literal["started", "stopped"]
    sample: int


class SpeechDetector:
    """A stream: push float32 `(n,)` at 16 kHz, get the edges it shows.

    threshold: the probability at which speech begins.   silence_ms: pause that ends it.

    speaking: whether it is going on.   samples: pushed so far.
    """

    def __init__(self, vad: SileroVad, threshold: float, silence_ms: int) -> None:
        self._vad = vad.stream()
        self._onset, self._offset = threshold, max(0.01, threshold - _HYSTERESIS)
        self._patience = max(1, -(-silence_ms * 16 // FRAME_SAMPLES))
        self._frame = self._run = self._silent = 0
        self.speaking = False
        self.samples = 0

    def push(self, samples: np.ndarray) -> Iterator[SpeechEdge]:
        """See the class. The samples are taken when the iterator is walked."""
        self.samples += len(samples)
        for probability in self._vad.push(samples).tolist():
            self._frame += 1
            if self.speaking:
                self._silent = 0 if probability >= self._offset else self._silent + 1
                if self._silent >= self._patience:
                    self.speaking, self._run = False, 0
                    yield SpeechEdge("stopped", (self._frame - self._silent) * FRAME_SAMPLES)
                continue
            self._run = self._run + 1 if probability >= (self._offset if self._run else self._onset) else 0
            if self._run >= _LEAST_FRAMES:
                self.speaking, self._silent = True, 0
                yield SpeechEdge("started", (self._frame - self._run) * FRAME_SAMPLES)
