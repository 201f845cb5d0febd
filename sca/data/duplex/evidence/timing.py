"""The offset and the drift between words and speech: those with the largest correlation over time.

Both are converted to their share of frames of 50 ms. The words are moved by up to 5 s, and stretched by up to 10 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ

__all__ = ["Timing", "correlation", "find_timing"]

_FRAME = HEARD_HZ // 20
_MOST_OFFSET = 5 * HEARD_HZ // _FRAME
_MOST_DRIFT = 0.1
# Words at the far end move by this much from one drift to the next: less than a word.
_STEP = 0.2 * HEARD_HZ
_MOST_STEPS = 1000
# A drift is only searched where the words as given leave something to explain.
_GOOD_FIT = 0.85
# In less time, a drift is the same as an offset.
_LEAST_LENGTH = 15 * HEARD_HZ


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of words against speech.

    Attributes:
        fit: Correlation of the words as they are.
        best_fit: Largest correlation.
        offset_s: Its offset, positive if the speech is later than the words.
        drift: Its drift, positive if the speech takes longer than the words.
    """

    fit: float
    best_fit: float
    offset_s: float
    drift: float


def find_timing(words: Sequence[Span], speech: Sequence[Span], samples: int) -> Timing:
    """Search the offset and the drift with the largest correlation.

    Args:
        words: Where the words are.
        speech: Where speech is.
        samples: Length of the session.
    """
    if not words or not speech:
        return Timing(0.0, 0.0, 0.0, 0.0)
    frames = int(samples * (1 + _MOST_DRIFT)) // _FRAME + 2 * _MOST_OFFSET + 2
    spectrum = np.fft.rfft(_centred(_occupancy(speech, frames)), 2 * frames)
    fit, best, offset = _best_offset(words, 0.0, spectrum, frames)
    found = Timing(fit, best, offset, 0.0)
    if best >= _GOOD_FIT or words[-1][1] - words[0][0] < _LEAST_LENGTH:
        return found
    for drift in _drifts(words[-1][1]):
        _, best, offset = _best_offset(words, drift, spectrum, frames)
        # A drift has to explain more than no drift: of equal fits the smaller drift is the more likely one.
        if best > found.best_fit + (0.02 if found.drift == 0 else 0.0):
            found = Timing(fit, best, offset, drift)
    return found


def correlation(words: Sequence[Span], speech: Sequence[Span], samples: int) -> float:
    """Return the correlation over time of words as they are and speech. Words before 0 are counted from 0."""
    frames = int(samples * (1 + _MOST_DRIFT)) // _FRAME + 2 * _MOST_OFFSET + 2
    inside = [(max(0, start), max(0, end)) for start, end in words]
    return float(_centred(_occupancy(inside, frames)) @ _centred(_occupancy(speech, frames)))


def _drifts(end: int) -> Iterator[float]:
    count = min(_MOST_STEPS, max(20, round(_MOST_DRIFT * end / _STEP)))
    for step in range(1, count + 1):
        yield from (step * _MOST_DRIFT / count, -step * _MOST_DRIFT / count)


def _best_offset(
    words: Sequence[Span], drift: float, spectrum: NDArray[np.complex128], frames: int
) -> tuple[float, float, float]:
    """Return the correlation without offset, the largest one, and its offset in seconds."""
    stretched = [(round(start * (1 + drift)), round(end * (1 + drift))) for start, end in words]
    moved = np.fft.rfft(_centred(_occupancy(stretched, frames)), 2 * frames)
    correlation = np.fft.irfft(spectrum * moved.conj(), 2 * frames)
    around = np.concatenate([correlation[-_MOST_OFFSET:], correlation[: _MOST_OFFSET + 1]])
    best = int(np.argmax(around))
    # Of offsets that are equally good, the smallest.
    if correlation[0] >= around[best] - 0.005:
        best = _MOST_OFFSET
    return float(correlation[0]), float(around[best]), (best - _MOST_OFFSET) * _FRAME / HEARD_HZ


def _occupancy(spans: Sequence[Span], frames: int) -> NDArray[np.float64]:
    """Return the share of every frame that the spans cover."""
    edges = np.zeros(frames * _FRAME // 80 + 2)
    for start, end in spans:
        edges[min(start // 80, len(edges) - 1)] += 1
        edges[min(end // 80, len(edges) - 1)] -= 1
    covered = np.minimum(np.cumsum(edges)[: frames * _FRAME // 80], 1.0)
    shares: NDArray[np.float64] = covered.reshape(frames, -1).mean(axis=1)
    return shares


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with mean 0 and length 1, so that their product is a correlation."""
    centred = values - values.mean()
    norm = float(np.linalg.norm(centred))
    result: NDArray[np.float64] = centred / norm if norm else centred
    return result
