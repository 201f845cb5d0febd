"""Verify speaker embeddings: with the model that made them if it is at hand, or else against each other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.audio.speaker_embedding import embed_speech
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.storage.records import speech_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.speakers.base import EMBEDDING_SIZE, NO_SPEAKER_MODEL
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.data.speakers.registry import load_speaker

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "EmbeddedTrack",
    "SpeakerModelUsed",
    "embedded_tracks",
    "embedding_problem",
    "recomputed_problems",
    "shared_embeddings",
]

_UNIT_LENGTH_TOLERANCE = 1e-3
_MIN_COSINE = 0.999
"""The model runs on the stored samples. Other processors round its numbers differently, which changes less than this."""


@dataclass(frozen=True, slots=True)
class SpeakerModelUsed:
    """The model with which embeddings are computed again.

    Attributes:
        name: What it is loaded by.
        digest: Its digest, so that another model at the same path is loaded again.
        cache_dir: Where fetched models are.
    """

    name: str
    digest: str
    cache_dir: Path


@dataclass(frozen=True, slots=True)
class EmbeddedTrack:
    """The embedding of a track, to compare with those of other tracks.

    Attributes:
        speaker: The speaker.
        values: The embedding; None without one.
        content: A digest of the sound and the speech that it is computed from; None without audio.
        retimed_from: The session that the track is retimed from; None if it is not.
    """

    speaker: str
    values: bytes | None
    content: str | None
    retimed_from: str | None


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
    if len(embedding) != EMBEDDING_SIZE:
        return f"its speaker embedding has {len(embedding)} numbers, it should have {EMBEDDING_SIZE}"
    if not abs(float(np.linalg.norm(_vector(embedding))) - 1) < _UNIT_LENGTH_TOLERANCE:
        return "its speaker embedding is not a vector of length 1"
    return None


def recomputed_problems(
    tracks: Sequence[StoredTrack], audio: "Sequence[Path | pa.Buffer]", model: SpeakerModelUsed
) -> Iterator[str]:
    """Yield the tracks of a session with another embedding than the model returns for their audio.

    Args:
        tracks: The tracks. Those of a retimed session have the embeddings of its source, see `shared_embeddings`.
        audio: The 16 kHz audio of each.
        model: The model.
    """
    embedder = _load(model)
    for track, heard in zip(tracks, audio, strict=True):
        record = track.record
        if record["augmented"] is None:
            given = embed_speech(embedder, heard, speech_of(record))
            if problem := _difference(record["speaker_embedding"], given):
                yield f"{record['speaker_id']}: {problem}"


@cache
def _load(model: SpeakerModelUsed) -> SpeakerEmbedder:
    return load_speaker(model.name, model.cache_dir)


def _difference(stored: Sequence[float] | None, given: NDArray[np.float32] | None) -> str | None:
    if stored is None:
        return None if given is None else "has no speaker embedding, the model gives one"
    if given is None:
        return "has a speaker embedding, the model gives none: there is too little speech"
    cosine = float(_vector(stored) @ given)
    # Written so that the cosine of a vector with a number that is not finite is a difference.
    return None if cosine >= _MIN_COSINE else f"its speaker embedding is not that of its audio (cosine {cosine:.3f})"


def embedded_tracks(tracks: Iterable[StoredTrack]) -> list[EmbeddedTrack]:
    """Return the embeddings of tracks with what they are computed from, for `shared_embeddings`."""
    return [
        EmbeddedTrack(track.record["speaker_id"], _values(track.record), _content(track), _source(track.record))
        for track in tracks
    ]


def _source(record: TrackRecord) -> str | None:
    return record["augmented"]["from"] if record["augmented"] else None


def _values(record: TrackRecord) -> bytes | None:
    embedding = record["speaker_embedding"]
    return None if embedding is None else _vector(embedding).tobytes()


def _content(track: StoredTrack) -> str | None:
    if not track.heard.size:
        return None
    digest = blake2b(track.heard, digest_size=16)
    digest.update(repr(speech_of(track.record)).encode())
    return digest.hexdigest()


def shared_embeddings(sessions: Iterable[tuple[str, Iterable[EmbeddedTrack]]]) -> Iterator[str]:
    """Yield tracks whose embedding contradicts that of another track.

    Two speakers have different embeddings, tracks of equal content equal ones, and a retimed track that of its source.

    Args:
        sessions: For each session, its id and its tracks. The source of a retimed session comes before it.
    """
    speaker_of: dict[bytes | None, str] = {}
    values_of: dict[str, tuple[str, bytes | None]] = {}
    sources: dict[tuple[str, str], bytes | None] = {}
    for session_id, tracks in sessions:
        for track in tracks:
            name, values = f"{session_id} {track.speaker}", track.values
            same = values_of.setdefault(track.content, (name, values)) if track.content else (name, values)
            if same[1] != values:
                yield f"{name}: its sound is that of {same[0]}, but not its speaker embedding"
            # Equal sound under two names has equal embeddings; the evidence reports the names.
            is_first = values is not None and same[0] == name
            if is_first and (other := speaker_of.setdefault(values, track.speaker)) != track.speaker:
                yield f"{name}: its speaker embedding is that of {other}"
            if track.retimed_from is None:
                sources[session_id, track.speaker] = values
            elif sources.get((track.retimed_from, track.speaker), values) != values:
                yield f"{name}: its speaker embedding is not that of {track.retimed_from}, which it is retimed from"


def _vector(embedding: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(embedding, np.float32)
