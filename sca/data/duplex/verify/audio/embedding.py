"""Verify speaker embeddings, as far as they can be verified without the model that made them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sca.data.duplex.model.records import TrackRecord
from sca.data.speakers.base import NO_SPEAKER_MODEL

__all__ = ["embedding_problem", "embeddings_of", "shared_embeddings"]

_UNIT_LENGTH_TOLERANCE = 1e-3


def embedding_problem(embedding: Sequence[float] | None, model: str) -> str | None:
    """Return what is wrong with the embedding of a track.

    Args:
        embedding: The embedding.
        model: The speaker model of the settings.
    """
    if embedding is None:
        return None
    if model == NO_SPEAKER_MODEL:
        return "has a speaker embedding, but the settings name no speaker model"
    if not abs(float(np.linalg.norm(np.asarray(embedding, np.float32))) - 1) < _UNIT_LENGTH_TOLERANCE:
        return "its speaker embedding is not a vector of length 1"
    return None


def embeddings_of(records: Iterable[TrackRecord]) -> list[tuple[str, bytes]]:
    """Return the embeddings of tracks with their speakers, for `shared_embeddings`."""
    return [
        (record["speaker_id"], np.asarray(record["speaker_embedding"], np.float32).tobytes())
        for record in records
        if record["speaker_embedding"] is not None
    ]


def shared_embeddings(sessions: Iterable[tuple[str, Iterable[tuple[str, bytes]]]]) -> Iterator[str]:
    """Yield tracks with the embedding of another speaker.

    Args:
        sessions: For each session, its id and its embeddings with their speakers.
    """
    seen: dict[bytes, str] = {}
    for session_id, embeddings in sessions:
        for speaker, values in embeddings:
            if (other := seen.setdefault(values, speaker)) != speaker:
                yield f"{session_id} {speaker}: its speaker embedding is that of {other}"
