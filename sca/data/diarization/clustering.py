"""Agglomerative clustering of speaker embeddings with an automatic number of speakers.

The two most similar clusters are merged until the cosine of their means is below a threshold. The cosine of two means
becomes more certain as clusters grow, so one threshold fits short and long speech; the mean of a voice that was split
comes so close to its other part that they merge. Clusters with too little speech are not speakers; their windows go to
the nearest one, as in pyannote.audio (`pipelines/clustering.py`).
"""

import numpy as np
from numpy.typing import NDArray

from sca.data.speakers.base import normalized

__all__ = ["SMALLEST_WINDOWS", "find_voices"]

SMALLEST_WINDOWS = 10
"""A cluster of less speech is no speaker: 2 s at 0.2 s from one window to the next."""
_MOST_WINDOWS = 1500
"""Of more windows, so many evenly spaced ones are clustered: the time of clustering grows with their square."""
_ROUNDS = 4
_CERTAIN_WINDOWS = 30
_ALLOWANCE = 0.5
"""The mean of few windows is less certain, so a small cluster merges at a lower cosine: by 0.07 with 10 windows."""


def find_voices(
    vectors: NDArray[np.float32],
    threshold: float,
    *,
    weights: NDArray[np.float32] | None = None,
    least: int = 1,
    most: int | None = None,
) -> NDArray[np.float32]:
    """Find the speakers of a recording.

    Args:
        vectors: Embeddings of windows, float32 `(n, size)` with norm 1.
        threshold: Voices whose means have a higher cosine are one speaker.
        weights: The speech of a window, `(n,)`; 1 is one hop between windows. All are 1 by default.
        least: At least so many speakers are returned, if there are as many windows.
        most: At most so many.

    Returns:
        The mean embedding of each speaker, float32 `(speakers, size)` with norm 1. None if `vectors` is empty.
    """
    if not len(vectors):
        return vectors
    step = -(-len(vectors) // _MOST_WINDOWS)
    weights = np.ones(len(vectors), np.float32) if weights is None else weights
    some, their_weights = vectors[::step], weights[::step]
    smallest = max(0.0, min(SMALLEST_WINDOWS / step, float(their_weights.sum()) / 2))
    labels = _cut(their_weights, _merges(some, their_weights), threshold, smallest, least, most)
    weighted = vectors * weights[:, None]
    voices = _refined(
        weighted, normalized(np.stack([weighted[::step][labels == n].sum(axis=0) for n in range(labels.max() + 1)]))
    )
    while len(voices) > least and (others := _without_closest(weighted, voices, threshold)) is not None:
        voices = others
    return voices


def _merges(vectors: NDArray[np.float32], weights: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    """Return all merges in order: the cluster that grows, the one that joins it, and the cosine of their means."""
    count = len(vectors)
    # Dot products of the sums of clusters; those of a merged cluster are sums of rows.
    weighted = vectors * weights[:, None]
    dots = (weighted @ weighted.T).astype(np.float64)
    norms = np.sqrt(np.maximum(dots.diagonal(), 1e-12))
    sizes = weights.astype(np.float64)
    cosines = dots / norms[:, None] / norms + _allowance(np.minimum(sizes[:, None], sizes))
    np.fill_diagonal(cosines, -np.inf)
    nearest = cosines.argmax(axis=1)
    highest = cosines[np.arange(count), nearest]
    merges: list[tuple[int, int, float]] = []
    for _ in range(count - 1):
        kept = int(highest.argmax())
        gone = int(nearest[kept])
        merges.append((kept, gone, float(highest[kept])))
        dots[kept] += dots[gone]
        dots[:, kept] += dots[:, gone]
        norms[kept] = np.sqrt(max(dots[kept, kept], 1e-12))
        sizes[kept] += sizes[gone]
        cosines[gone], cosines[:, gone], highest[gone] = -np.inf, -np.inf, -np.inf
        alive = np.isfinite(highest)
        allowance = _allowance(np.minimum(sizes[alive], sizes[kept]))
        cosines[kept, alive] = dots[kept, alive] / norms[kept] / norms[alive] + allowance
        cosines[kept, kept] = -np.inf
        cosines[:, kept] = cosines[kept]
        stale = np.flatnonzero(alive & ((nearest == kept) | (nearest == gone) | (cosines[:, kept] > highest)))
        stale = np.union1d(stale, [kept])
        nearest[stale] = cosines[stale].argmax(axis=1)
        highest[stale] = cosines[stale, nearest[stale]]
    return merges


def _allowance(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much lower the cosine of two means may be if the smaller cluster has so many windows."""
    allowance: NDArray[np.float64] = _ALLOWANCE * np.maximum(
        0, 1 / np.sqrt(np.maximum(sizes, 1)) - 1 / np.sqrt(_CERTAIN_WINDOWS)
    )
    return allowance


def _cut(
    weights: NDArray[np.float32],
    merges: list[tuple[int, int, float]],
    threshold: float,
    smallest: float,
    least: int,
    most: int | None,
) -> NDArray[np.int64]:
    """Return the cluster of each window; -1 for those of clusters that are too small."""
    below = next((n for n, (_, _, cosine) in enumerate(merges) if cosine < threshold), len(merges))
    labels = _after(len(weights), merges, below)
    speakers = _large(labels, weights, smallest)
    while most is not None and len(speakers) > most and below < len(merges):
        below += 1
        labels = _after(len(weights), merges, below)
        speakers = _large(labels, weights, smallest)
    # Fewer merges split clusters; with the smallest size of one window, as many as there are windows.
    for size in (smallest, 0.0):
        for undone in range(below, -1, -1):
            if len(speakers) >= least:
                break
            labels = _after(len(weights), merges, undone)
            speakers = _large(labels, weights, size)
    if not len(speakers):
        return np.zeros(len(weights), np.int64)
    found = np.full(len(weights), -1, np.int64)
    for n, speaker in enumerate(speakers):
        found[labels == speaker] = n
    return found


def _after(count: int, merges: list[tuple[int, int, float]], done: int) -> NDArray[np.int64]:
    """Return the cluster of each window after the first `done` merges."""
    parent = np.arange(count)
    for kept, gone, _ in reversed(merges[:done]):
        parent[gone] = parent[kept]
    return parent


def _large(labels: NDArray[np.int64], weights: NDArray[np.float32], smallest: float) -> list[int]:
    """Return the clusters that are large enough, largest first."""
    names, places = np.unique(labels, return_inverse=True)
    sizes = np.bincount(places, weights)
    order = np.lexsort((names, -sizes))
    return [int(names[n]) for n in order if sizes[n] >= smallest]


def _refined(vectors: NDArray[np.float32], voices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move the means to all windows that are nearest to them, a few times (spherical k-means)."""
    for _ in range(_ROUNDS):
        labels = (vectors @ voices.T).argmax(axis=1)
        voices = normalized(
            np.stack(
                [vectors[labels == n].sum(axis=0) if (labels == n).any() else voices[n] for n in range(len(voices))]
            )
        )
    return voices


def _without_closest(
    vectors: NDArray[np.float32], voices: NDArray[np.float32], threshold: float
) -> NDArray[np.float32] | None:
    """Return the means without the first that is not a separate voice; None if all are separate.

    That is one of two that came closer than the threshold when they moved, or the mixture of two that speak at the
    same time, which is as close to their sum.
    """
    labels = (vectors @ voices.T).argmax(axis=1)
    sizes = np.bincount(labels, np.linalg.norm(vectors, axis=1), minlength=len(voices))
    for gone in np.argsort(sizes, kind="stable"):
        others = [n for n in range(len(voices)) if n != gone]
        known = voices[others]
        sums = [known[a] + known[b] for a in range(len(known)) for b in range(a)]
        near = np.concatenate([known, normalized(np.stack(sums))]) if sums else known
        if float((near @ voices[gone]).max()) >= threshold:
            return _refined(vectors, known)
    return None
