"""The interfaces of a reaction detector and of an audio tagger.

A detector finds events in a recording. Most detectors are built on a tagger, a model that assigns class probabilities
to windows of sound (see `sca.data.reactions.tagger.TaggerDetector`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.audio.samples import Samples
from sca.timeline import AudienceEvent, EnvironmentEvent
from sca.units import HEARD_HZ

__all__ = ["HOP_SAMPLES", "WINDOW_SAMPLES", "Detector", "SoundEvent", "Tagger"]

SoundEvent = AudienceEvent | EnvironmentEvent
"""What a detector finds: a reaction of the audience, or another sound."""

HOP_SAMPLES = HEARD_HZ * 24 // 100
"""Samples between the scores of a tagger: 0.24 s, twice as fine as usual, because events are evaluated at ± 0.5 s."""
WINDOW_SAMPLES = 8 * HOP_SAMPLES
"""Window of a tagger that accepts any length: 1.92 s, long enough for a laugh and short enough to locate it."""


class Detector(Protocol):
    """Finds reactions of the audience, and other sounds, in one recording. It is safe to use from several threads."""

    @property
    def name(self) -> str:
        """The name that transcriptions record in their field `reactions`."""

    def find(self, samples: Samples, speech: Sequence[tuple[int, int]]) -> list[SoundEvent]:
        """Find the events of a recording.

        Args:
            samples: The whole mix, float32 `(n,)` at 16 kHz, of which slices are read.
            speech: Where the VAD found speech: `(start, end)` in samples, sorted and disjoint. A detector may ignore
                it, because laughter over a punchline is a reaction too.

        Returns:
            Events sorted by start, with times in seconds.

        Raises:
            ValueError: `samples` has another dtype or shape.
        """


class Tagger(Protocol):
    """A model that assigns class probabilities to windows of sound.

    Attributes:
        labels: The names of the classes.
        window_samples: The length of a window in samples at 16 kHz, a multiple of 160.
        own_table: Its own classes and thresholds in the class table (`sca/resources/reactions.toml`); empty for those
            of every tagger.
    """

    labels: Sequence[str]
    window_samples: int
    own_table: str = ""

    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        """Compute the probabilities of the windows `[start, start + window_samples)`.

        Args:
            samples: float32 `(n,)` at 16 kHz, at least one window long.
            starts: First samples of the windows, ascending multiples of 160.

        Returns:
            float32 `(len(starts), len(labels))`.

        Raises:
            InputError: The model failed.
        """
        ...
