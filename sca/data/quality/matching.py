"""Compare the fingerprints of recordings, and find the ones that are copies of each other."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sca.data.quality.fingerprint import FRAME_S, Fingerprint

__all__ = ["Match", "compare", "find_matches"]

# Landmarks that two recordings have at the same offset, of the 64 that a fingerprint has: 8 to 64 in copies, at most 2
# in different recordings, also in generated talk with phrases that the same voices repeat (docs/duplex.md).
_LEAST_SHARED = 6
_LEAST_SPAN, _LEAST_SPAN_S = 0.5, 2.0
_TOLERANCE_FRAMES = 4
# A hash in more recordings than this distinguishes none of them.
_MOST_RECORDINGS = 50


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


def find_matches(
    prints: Sequence[Fingerprint | None], is_pair: Callable[[int, int], bool] | None = None
) -> Iterator[tuple[int, int, Match]]:
    """Yield every recording that is a copy of an earlier one, once: the copy, the earlier one, and their match.

    Only pairs that share a hash are compared, so the time grows with the number of recordings and not with its square.

    Args:
        prints: The fingerprints; None for recordings without one.
        is_pair: Whether to compare a later and an earlier recording; None compares all.
    """
    common: dict[tuple[int, int], int] = defaultdict(int)
    for group in _recordings_by_hash(prints):
        for place, second in enumerate(group):
            for first in group[:place]:
                common[first, second] += 1
    found: set[int] = set()
    for (first, second), count in sorted(common.items(), key=lambda item: (item[0][1], item[0][0])):
        a, b = prints[first], prints[second]
        if count < _LEAST_SHARED or second in found or a is None or b is None:
            continue
        if is_pair is not None and not is_pair(second, first):
            continue
        match = compare(a, b)
        if match.is_copy:
            found.add(second)
            yield second, first, match


def _recordings_by_hash(prints: Sequence[Fingerprint | None]) -> Iterator[list[int]]:
    """Yield the recordings that have a hash in common, in order, from one sorted array."""
    sizes = [0 if one is None else len(one.hashes) for one in prints]
    if not any(sizes):
        return
    hashes = np.concatenate([one.hashes for one in prints if one is not None])
    owners = np.repeat(np.arange(len(prints), dtype=np.uint32), sizes)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    edges = np.flatnonzero(np.diff(hashes)) + 1
    for start, end in pairwise([0, *edges.tolist(), len(hashes)]):
        if 2 <= end - start <= _MOST_RECORDINGS:
            yield owners[start:end].tolist()
