"""Offset and drift between words and speech from the edges of both, finer than the frames of the correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ, samples_to_seconds, seconds_to_samples

__all__ = ["TimeMap", "refine"]

# The detector closes shorter pauses in speech.
_PAUSE = HEARD_HZ // 10
# The detector decides per frame of 32 ms, after it has heard the frame: where words are exactly in time, the middle
# between its onsets and its ends is later by 0.03 s (0.01-0.04 s in generated conversations with known times).
_DETECTOR_LAG_S = 0.03
# An edge of speech belongs to an edge of words that is nearer than this; less in every round.
_REACH_S = (0.4, 0.25, 0.15, 0.15)
_LEAST_EDGES = 10


@dataclass(frozen=True, slots=True)
class TimeMap:
    """A time t of the words becomes `t * (1 + drift) + offset_s`."""

    offset_s: float = 0.0
    drift: float = 0.0

    def span(self, span: Span) -> Span:
        """Return where a span is moved to; it can begin before 0."""
        return self.sample(span[0]), self.sample(span[1])

    def sample(self, at: int) -> int:
        """Return where a sample at 16 kHz is moved to."""
        return seconds_to_samples(samples_to_seconds(at, HEARD_HZ) * (1 + self.drift) + self.offset_s, HEARD_HZ)


def refine(words: Sequence[Span], speech: Sequence[Span], coarse: TimeMap) -> TimeMap | None:
    """Fit the edges of the words to the nearest edges of speech, by least squares without outliers.

    Starts and ends have a constant each, because the detector begins early and ends late; the offset is their mean.

    Args:
        words: Where the words are, sorted and disjoint.
        speech: Where speech is, sorted and disjoint.
        coarse: The estimate to start from. Without drift, only the offset is fitted.

    Returns:
        The fit; None if fewer than 10 edges are near one another.
    """
    blocks = _blocks(words)
    edges = np.array(blocks, np.float64).T / HEARD_HZ
    found = np.array(speech, np.float64).T / HEARD_HZ
    offset, drift = coarse.offset_s, coarse.drift
    for reach in _REACH_S:
        times, errors, is_end = _matched(edges, found, offset, drift, reach)
        if len(times) < _LEAST_EDGES:
            return None
        change = _fitted(times, errors, is_end, with_drift=coarse.drift != 0)
        offset += float(change[:2].mean())
        drift += float(change[2:].sum())
    # Adding 0 makes a positive zero of a negative one.
    return TimeMap(round(offset - _DETECTOR_LAG_S, 3) + 0.0, round(drift, 6) + 0.0)


def _blocks(words: Sequence[Span]) -> list[Span]:
    """Return the words without the pauses that the detector does not have."""
    blocks: list[Span] = []
    for start, end in words:
        if blocks and start - blocks[-1][1] < _PAUSE:
            blocks[-1] = (blocks[-1][0], end)
        else:
            blocks.append((start, end))
    return blocks


def _matched(
    edges: NDArray[np.float64], found: NDArray[np.float64], offset: float, drift: float, reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return time, error and kind of the edges of words that have an edge of speech within reach."""
    times = edges.ravel()
    expected = edges * (1 + drift) + offset
    errors = np.concatenate([_nearest(found[kind], expected[kind]) - expected[kind] for kind in (0, 1)])
    is_end = np.repeat([False, True], edges.shape[1])
    near = np.abs(errors) <= reach
    return times[near], errors[near], is_end[near]


def _nearest(values: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    after = np.clip(np.searchsorted(values, wanted), 1, max(1, len(values) - 1))
    pair = np.stack([values[after - 1], values[np.minimum(after, len(values) - 1)]])
    nearest: NDArray[np.float64] = pair[np.abs(pair - wanted).argmin(axis=0), np.arange(len(wanted))]
    return nearest


def _fitted(
    times: NDArray[np.float64], errors: NDArray[np.float64], is_end: NDArray[np.bool_], *, with_drift: bool
) -> NDArray[np.float64]:
    """Return the constants of starts and ends, and the drift if it is wanted."""
    columns = [~is_end, is_end, *([times] if with_drift else [])]
    known = np.stack(columns, axis=1).astype(np.float64)
    kept = np.ones(len(times), np.bool_)
    for _ in range(3):
        change: NDArray[np.float64] = np.linalg.lstsq(known[kept], errors[kept], rcond=None)[0].astype(np.float64)
        distance = np.abs(errors - known @ change)
        kept = distance <= 3 * np.median(distance) + 0.001
    return change
