"""Find recordings that are there twice, by their fingerprints, and voices that have two names, by their embeddings."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.audio.fingerprint import FRAME_S, Fingerprint, decode_fingerprint
from sca.data.duplex.model.evidence import TrackEvidence

__all__ = [
    "Copy",
    "Match",
    "SameVoice",
    "compare",
    "decode_voice",
    "encode_voice",
    "find_copies",
    "find_same_voices",
]

# Landmarks that two recordings have at the same offset, of the 64 that a fingerprint has: 8 to 64 in copies, at most 2
# in different recordings, also in generated talk with phrases that the same voices repeat (docs/duplex.md).
_LEAST_SHARED = 6
_LEAST_SPAN, _LEAST_SPAN_S = 0.5, 2.0
_TOLERANCE_FRAMES = 4
# A hash in more recordings than this distinguishes none of them.
_MOST_TRACKS = 50
# The tracks of a name whose voices are less alike have several speakers, for example "left" in a corpus.
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


@dataclass(frozen=True, slots=True)
class Match:
    """What two recordings have in common.

    Attributes:
        shared: Landmarks that both have at one offset.
        offset_s: How much later these are in the second recording.
        span: The time over which they are spread, as a share of that of the landmarks of the shorter recording.
        span_s: The same in seconds.
    """

    shared: int = 0
    offset_s: float = 0.0
    span: float = 0.0
    span_s: float = 0.0

    @property
    def is_copy(self) -> bool:
        """Whether the recordings are the same. A single phrase that both have, as generated speech can, is not enough."""
        return self.shared >= _LEAST_SHARED and self.span >= _LEAST_SPAN and self.span_s >= _LEAST_SPAN_S


def compare(first: Fingerprint, second: Fingerprint) -> Match:
    """Return the landmarks that two recordings have at the most frequent offset."""
    _, a, b = np.intersect1d(first.hashes, second.hashes, assume_unique=True, return_indices=True)
    if not len(a):
        return Match()
    offsets = second.frames[b] - first.frames[a]
    ordered = np.sort(offsets)
    counts = np.searchsorted(ordered, ordered + _TOLERANCE_FRAMES, "right") - np.arange(len(ordered))
    best = int(np.argmax(counts))
    inside = (offsets >= ordered[best]) & (offsets <= ordered[best] + _TOLERANCE_FRAMES)
    common = int(np.ptp(second.frames[b][inside]))
    shorter = min(int(np.ptp(first.frames)), int(np.ptp(second.frames)))
    return Match(
        shared=int(counts[best]),
        offset_s=round(float(np.median(offsets[inside])) * FRAME_S, 2),
        span=common / max(1, shorter),
        span_s=common * FRAME_S,
    )


def find_copies(tracks: Sequence[TrackEvidence]) -> Iterator[Copy]:
    """Yield every track whose recording is that of a track of an earlier session, with another encoding.

    Tracks of one session are not compared: cross-talk makes them similar. Only pairs that share a hash are compared, so
    the time grows with the number of tracks and not with its square.
    """
    prints = [decode_fingerprint(track.sound) if track.sound else None for track in tracks]
    common: dict[tuple[int, int], int] = defaultdict(int)
    for group in _tracks_by_hash(prints):
        for place, second in enumerate(group):
            for first in group[:place]:
                common[first, second] += 1
    found: set[int] = set()
    for (first, second), count in sorted(common.items(), key=lambda item: (item[0][1], item[0][0])):
        a, b = prints[first], prints[second]
        if count < _LEAST_SHARED or second in found or tracks[first].session == tracks[second].session:
            continue
        if a is None or b is None or tracks[first].audio == tracks[second].audio:
            continue
        match = compare(a, b)
        if match.is_copy:
            found.add(second)
            yield Copy(tracks[second], tracks[first], match.offset_s)


def _tracks_by_hash(prints: Sequence[Fingerprint | None]) -> Iterator[list[int]]:
    """Yield the tracks that have a hash in common, in order, from one sorted array."""
    sizes = [0 if one is None else len(one.hashes) for one in prints]
    if not any(sizes):
        return
    hashes = np.concatenate([one.hashes for one in prints if one is not None])
    owners = np.repeat(np.arange(len(prints), dtype=np.uint32), sizes)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    edges = np.flatnonzero(np.diff(hashes)) + 1
    for start, end in pairwise([0, *edges.tolist(), len(hashes)]):
        if 2 <= end - start <= _MOST_TRACKS:
            yield owners[start:end].tolist()


def encode_voice(embedding: Sequence[float] | None) -> str:
    """Return an embedding of length 1 as text, one byte per number; empty without one, or if it is no direction."""
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
