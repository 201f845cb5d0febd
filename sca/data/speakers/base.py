"""The interface of a speaker-embedding model, and the size of the vectors that sca stores."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.audio.samples import Samples

__all__ = ["EMBEDDING_SIZE", "NO_SPEAKER_MODEL", "SpeakerModel", "WindowModel", "normalized", "public_name"]

EMBEDDING_SIZE = 192
"""Length of an embedding: what ECAPA-TDNN and CAM++ return."""
NO_SPEAKER_MODEL = "none"
"""The model name that disables embeddings."""


class SpeakerModel(Protocol):
    """A loaded model that maps one piece of speech to an embedding."""

    def embed_speech(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the embedding of one piece of speech.

        Args:
            speech: float32 `(n,)` at 16 kHz, n at least 8000, without pauses.

        Returns:
            float32 `(192,)`, of any length (norm).

        Raises:
            InputError: The model failed, or its output does not have 192 numbers.
        """
        ...


def public_name(model: str) -> str:
    """Return a model's name without its folders, which reveal paths of the machine where a data set was made."""
    return model.replace("\\", "/").rsplit("/", 1)[-1]


class WindowModel(Protocol):
    """A model that embeds windows of a fixed length.

    Attributes:
        window_samples: The length of a window at 16 kHz.
        hop_samples: From one window to the next.
        threshold: Voices whose mean embeddings have a cosine above this are one speaker.
    """

    @property
    def window_samples(self) -> int:
        """The length of a window at 16 kHz."""
        ...

    @property
    def hop_samples(self) -> int:
        """From one window to the next, at 16 kHz."""
        ...

    @property
    def threshold(self) -> float:
        """Voices whose mean embeddings have a cosine above this are one speaker."""
        ...

    def embed_windows(self, samples: Samples, starts: Sequence[int]) -> NDArray[np.float32]:
        """Embed windows.

        Args:
            samples: float32 `(n,)` at 16 kHz.
            starts: The first sample of each window, sorted; no window reaches beyond the samples.

        Returns:
            float32 `(windows, size)`, not normalized.

        Raises:
            InputError: The model failed.
        """
        ...


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors with norm 1, and zeros for those that are zero or not finite."""
    finite = np.where(np.isfinite(vectors).all(axis=-1, keepdims=True), vectors, 0)
    norms = np.linalg.norm(finite, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = (finite / np.where(norms > 0, norms, 1)).astype(np.float32)
    return unit
