"""Find recordings that are there twice, by their fingerprints, and voices that have two names, by their embeddings."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.evidence import TrackEvidence
from sca.data.quality.fingerprint import decode_fingerprint
from sca.data.quality.matching import find_matches

__all__ = [
    "Copy",
    "SameVoice",
    "decode_voice",
    "encode_voice",
    "find_copies",
    "find_same_voices",
]

# If the voices of a name's tracks are less alike, the name has several speakers, for example "left" in a corpus.
_ONE_VOICE = 0.8
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Copy:
    """A recording that is a copy of an earlier one.

    Attributes:
        track: The copy.
        first: The track it is a copy of.
        offset_s: How much later the sound is in the copy.
    """

    track: TrackEvidence
    first: TrackEvidence
    offset_s: float


@dataclass(frozen=True, slots=True)
class SameVoice:
    """A name whose voice an earlier name has.

    Attributes:
        track: The first track of the name.
        other: The name with the most similar voice.
        session: A session of the other name.
        cosine: Cosine of the two voices.
    """

    track: TrackEvidence
    other: str
    session: str
    cosine: float


def find_copies(tracks: Sequence[TrackEvidence]) -> Iterator[Copy]:
    """Yield every track whose recording is that of a track of an earlier session, with another encoding.

    Tracks of one session are not compared: cross-talk makes them similar.
    """

    def is_pair(second: int, first: int) -> bool:
        one, other = tracks[second], tracks[first]
        return one.session != other.session and one.audio != other.audio

    prints = [decode_fingerprint(track.sound) if track.sound else None for track in tracks]
    for second, first, match in find_matches(prints, is_pair):
        yield Copy(tracks[second], tracks[first], match.offset_s)


def encode_voice(embedding: Sequence[float] | None) -> str:
    """Return an embedding of length 1 as text, one byte per number; empty without an embedding, or if its length is 0."""
    if embedding is None:
        return ""
    values = np.asarray(embedding, np.float32)
    largest = np.abs(values).max()
    if not np.isfinite(largest) or not largest:
        return ""  # the check of embeddings reports it
    scaled = np.round(values / largest * 127).astype(np.int8)
    return base64.b64encode(scaled.tobytes()).decode()


def decode_voice(text: str) -> NDArray[np.float32]:
    """Return the embedding of a text, scaled to length 1; its cosines differ by less than 0.01 from the given one."""
    values = np.frombuffer(base64.b64decode(text), np.int8).astype(np.float32)
    normalized: NDArray[np.float32] = values / np.linalg.norm(values)
    return normalized


def find_same_voices(tracks: Iterable[TrackEvidence], least: float) -> Iterator[SameVoice]:
    """Yield every name whose voice an earlier name has, unless both are in one session.

    Args:
        tracks: All tracks.
        least: Smallest cosine of one voice.
    """
    by_name: dict[str, list[TrackEvidence]] = defaultdict(list)
    for track in tracks:
        if track.voice:
            by_name[track.speaker].append(track)
    means = {name: np.mean([decode_voice(track.voice or "") for track in own], axis=0) for name, own in by_name.items()}
    names = [name for name, mean in means.items() if float(np.linalg.norm(mean)) >= _ONE_VOICE]
    if len(names) < 2:
        return
    voices = np.stack([means[name] / np.linalg.norm(means[name]) for name in names])
    sessions = [{track.session for track in by_name[name]} for name in names]
    for start in range(0, len(names), _BLOCK):
        cosines = voices[start : start + _BLOCK] @ voices.T
        for row, place in enumerate(range(start, min(start + _BLOCK, len(names)))):
            near = [at for at in np.flatnonzero(cosines[row, :place] >= least) if not sessions[at] & sessions[place]]
            if near:
                best = max(near, key=lambda at: float(cosines[row, at]))
                other = by_name[names[best]][0]
                yield SameVoice(
                    by_name[names[place]][0], names[best], other.session, round(float(cosines[row, best]), 2)
                )
