"""Verify speaker embeddings, as far as they can be verified without the model that made them."""

from collections.abc import Sequence

import numpy as np

from sca.data.speakers.base import NO_SPEAKER_MODEL

__all__ = ["EmbeddingCheck"]

_UNIT_LENGTH_TOLERANCE = 1e-3


class EmbeddingCheck:
    """Verifies the embeddings of all tracks of a data set, one after the other."""

    def __init__(self, model: str) -> None:
        """Prepare the verification.

        Args:
            model: The speaker model of the settings.
        """
        self._model = model
        self._seen: dict[bytes, str] = {}

    def problem(self, speaker: str, embedding: Sequence[float] | None) -> str | None:
        """Return what is wrong with the embedding of a track."""
        if embedding is None:
            return None
        if self._model == NO_SPEAKER_MODEL:
            return "has a speaker embedding, but the settings name no speaker model"
        values = np.asarray(embedding, np.float32)
        if not abs(float(np.linalg.norm(values)) - 1) < _UNIT_LENGTH_TOLERANCE:
            return "its speaker embedding is not a vector of length 1"
        other = self._seen.setdefault(values.tobytes(), speaker)
        return None if other == speaker else f"its speaker embedding is that of {other}"
