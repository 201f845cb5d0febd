"""The interface of a speaker-embedding model, and the size of the vectors that sca stores."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["EMBEDDING_SIZE", "NO_SPEAKER_MODEL", "SpeakerModel", "public_name"]

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
