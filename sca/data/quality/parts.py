"""Find recordings of which most is in another recording: re-uploads, cuts and trailers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sca.data.quality.fingerprint import FRAME_S
from sca.data.quality.sketch import Sketch

__all__ = ["LEAST_SHARE", "Part", "common_part", "find_parts"]

LEAST_SHARE = 0.8
"""A recording is a copy if at least this share of it is in another one."""
_LEAST_SHARED = 8  # landmarks at one offset
_LEAST_IN_RUN = 3
_TOLERANCE_FRAMES = 4
_GAP_FRAMES = round(20 / FRAME_S)  # between landmarks of one stretch of common sound
_EDGE_FRAMES = round(3 / FRAME_S)  # before the first and after the last landmark of a stretch
_MOST_PLACES = 4000
"""A hash at more places than this is left out, which bounds the time for one recording."""
_SAME_LENGTH_S = 1.0
_OWNER_BITS = 32


@dataclass(frozen=True, slots=True)
class Part:
    """What a recording has in common with another one.

    Attributes:
        of: The name of the other recording.
        at_s: Where this recording begins in the other one; below 0 if it begins before it.
        share: Share of this recording that is in the other one.
        share_of_other: Share of the other recording that is in this one.
        shared: Landmarks at this offset.
    """

    of: str
    at_s: float
    share: float
    share_of_other: float
    shared: int

    def document(self) -> dict[str, object]:
        """Return the facts as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the reason to leave the recording out."""
        minutes, seconds = divmod(round(abs(self.at_s)), 60)
        return f"copy of {self.of} at {'-' * (self.at_s <= -0.5)}{minutes}:{seconds:02}, share {self.share:.2f}"


def common_part(sketch: Sketch, other: Sketch, name: str) -> Part | None:
    """Return what a recording has in common with another one at the most frequent offset; None for too little.

    Args:
        sketch: The sketch of the recording.
        other: The sketch of the other one.
        name: The name of the other one.
    """
    mine, theirs = _equal(sketch.hashes, other.hashes)
    if len(mine) < _LEAST_SHARED:
        return None
    here, there = sketch.frames[mine], other.frames[theirs]
    offsets = there - here
    ordered = np.sort(offsets)
    counts = _within(ordered)
    best = int(np.argmax(counts))
    inside = (offsets >= ordered[best]) & (offsets <= ordered[best] + _TOLERANCE_FRAMES)
    shared = len(np.unique(here[inside]))
    if shared < _LEAST_SHARED:
        return None
    offset_s = float(np.median(offsets[inside])) * FRAME_S
    # What both could have in common at this offset bounds it.
    first_s, last_s = max(0.0, -offset_s), min(sketch.length_s, other.length_s - offset_s)
    common_s = min(_covered_s(np.unique(here[inside])), max(0.0, last_s - first_s))
    return Part(
        of=name,
        at_s=round(offset_s, 2),
        share=round(common_s / max(sketch.length_s, 1e-9), 2),
        share_of_other=round(common_s / max(other.length_s, 1e-9), 2),
        shared=shared,
    )


def find_parts(sketches: Mapping[str, Sketch]) -> dict[str, Part]:
    """Return the recordings that are copies of others, by name, with the recording that is kept.

    The longest one is kept; of equally long ones that with the wider spectrum, then the first name. A copy is only compared with
    recordings that are kept, so every copy names one of these.
    """
    names = sorted(sketches, key=lambda name: (-sketches[name].length_s, name))
    found: dict[str, Part] = {}
    index = _Index([sketches[name] for name in names])
    for number, name in enumerate(names):
        parts = (
            part
            for other in index.candidates(sketches[name], number)
            if names[other] not in found
            and (part := common_part(sketches[name], sketches[names[other]], names[other])) is not None
        )
        best = max(parts, key=lambda part: (part.share, part.shared), default=None)
        if best is None or best.share < LEAST_SHARE:
            continue
        if not _is_better(name, best.of, sketches):
            found[name] = best
            continue
        found[best.of] = replace(best, of=name, at_s=-best.at_s, share=best.share_of_other, share_of_other=best.share)
        for copy, part in found.items():
            if part.of == best.of:
                found[copy] = replace(part, of=name)
    return found


def _is_better(name: str, kept: str, sketches: Mapping[str, Sketch]) -> bool:
    """Whether a recording replaces the kept one: it is as long, and has a wider spectrum or comes first by name."""
    one, other = sketches[name], sketches[kept]
    if other.length_s - one.length_s > _SAME_LENGTH_S:
        return False
    return (-one.bandwidth_hz, name) < (-other.bandwidth_hz, kept)


class _Index:
    """The landmarks of all recordings by hash: 12 bytes each."""

    def __init__(self, sketches: list[Sketch]) -> None:
        hashes = np.concatenate([np.zeros(0, np.uint32), *(sketch.hashes for sketch in sketches)])
        sizes = [len(sketch.hashes) for sketch in sketches]
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._owners = np.repeat(np.arange(len(sketches), dtype=np.uint32), sizes)[order]
        frames = [np.zeros(0, np.uint32), *(sketch.frames.astype(np.uint32) for sketch in sketches)]
        self._frames = np.concatenate(frames)[order]

    def candidates(self, sketch: Sketch, before: int) -> Iterator[int]:
        """Yield the recordings with a number below `before` that have enough landmarks at one offset in common."""
        first = np.searchsorted(self._hashes, sketch.hashes, "left")
        count = np.searchsorted(self._hashes, sketch.hashes, "right") - first
        count[count > _MOST_PLACES] = 0
        places = np.repeat(first - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
        owners = self._owners[places].astype(np.int64)
        earlier = owners < before
        offsets = self._frames[places[earlier]].astype(np.int64) - np.repeat(sketch.frames, count)[earlier]
        keys = np.sort((owners[earlier] << _OWNER_BITS) + offsets + (1 << (_OWNER_BITS - 1)))
        enough = _within(keys) >= _LEAST_SHARED
        yield from np.unique(keys[enough] >> _OWNER_BITS).tolist()


def _within(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of the following values are within the tolerance of each one, with itself."""
    counts: NDArray[np.int64] = np.searchsorted(ordered, ordered + _TOLERANCE_FRAMES, "right") - np.arange(len(ordered))
    return counts


def _equal(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of all pairs of equal hashes in two ascending arrays."""
    start = np.searchsorted(second, first, "left")
    count = np.searchsorted(second, first, "right") - start
    places = np.repeat(start - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
    return np.repeat(np.arange(len(first)), count), places


def _covered_s(frames: NDArray[np.int64]) -> float:
    """Return the length of the stretches of common landmarks, which are near each other in each, in seconds.

    A single landmark far from the others, as occurs by chance, is no stretch.
    """
    edges = np.flatnonzero(np.diff(frames) > _GAP_FRAMES) + 1
    runs = [frames[start:end] for start, end in pairwise([0, *edges.tolist(), len(frames)])]
    covered = sum(int(run[-1] - run[0]) + 2 * _EDGE_FRAMES for run in runs if len(run) >= _LEAST_IN_RUN)
    return covered * FRAME_S
