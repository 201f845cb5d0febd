"""Who hears the audience: the detector interface, and the detector that a name stands for.

    none        nobody
    energy      loud bursts outside speech, weightless (sca.data.reactions.energy)
    a model     an AudioSet tagger: an .onnx file, a folder, or a hub id (sca.data.reactions.model_files)

A detector gets the whole mix, float32 mono at 16 kHz, and where there is speech in it. It decides by itself what to do with the
speech: laughter over a punchline is a reaction too.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sca.timeline import AudienceEvent, EnvironmentEvent

__all__ = ["Detector", "Heard"]

Heard = AudienceEvent | EnvironmentEvent


class Detector(Protocol):
    """Finds reactions of the audience, and other sounds, in one recording.

    One serves any number of threads. name: what a transcription says about who heard them.
    """

    @property
    def name(self) -> str:
        """What a transcription notes as its `reactions`."""

    def find(self, samples: np.ndarray, speech: Sequence[tuple[int, int]]) -> list[Heard]:
        """Events sorted by start, times in seconds.

        samples: float32 `(n,)` at 16 kHz.   speech: `(start, end)` in samples, sorted, apart from each other.
        Raises ValueError for another dtype or shape.
        """
