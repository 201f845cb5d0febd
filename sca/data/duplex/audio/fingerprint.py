"""Acoustic fingerprints: the same recording has the same ones after re-encoding, resampling, another gain or a cut start.

Landmarks as in A. Wang, "An industrial-strength audio search algorithm" (ISMIR 2003), with three peaks instead of two:
the peaks of a spectrogram of 36 bands from 250 to 3500 Hz, and of each peak and two of the four that follow it a hash
of their bands and distances. Neither the gain nor the place in the recording changes a hash. Of all hashes that occur
once in a recording, the 64 smallest are kept (a bottom-k sketch, A. Broder 1997), so that a fingerprint has the same
size for a recording of any length, and copies keep the same ones.
"""

import base64
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["FRAME_S", "Fingerprint", "Fingerprinter", "decode_fingerprint"]

_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 36, 250.0, 3500.0
_RATE = HEARD_HZ // 2
_WINDOW = 512  # 64 ms at 8 kHz
_HOP = 128
_GROUP = 256  # frames that are computed at once: 4 s
FRAME_S = _HOP / _RATE
"""Seconds per frame, the unit of the times of landmarks: 16 ms."""
_REACH_FRAMES, _REACH_BANDS = 6, 4  # a peak is the largest value so far around it
_FLOOR_DB = 40.0  # a peak is not further below the largest value of the recording
_QUIETEST_DB = -80.0  # below this is the noise of quantization
_STEPS_PER_DB = 2
_FAN = 4
_SHORTEST, _LONGEST = 4, 126  # frames between the first and the third peak
_KEPT = 64
_RECORD = np.dtype([("hash", "<u4"), ("frame", "<u4")])


class Fingerprint(NamedTuple):
    """Landmarks of a recording.

    Attributes:
        hashes: uint32 `(n,)`, ascending, without duplicates; n is at most 64.
        frames: int64 `(n,)`, their times in frames of 16 ms.
    """

    hashes: NDArray[np.uint32]
    frames: NDArray[np.int64]


class Fingerprinter:
    """Computes the fingerprint of a recording that is read in blocks. Keeps 2 kB per second of it."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._levels: list[NDArray[np.uint8]] = []

    def push(self, block: NDArray[np.float32]) -> None:
        """Add samples, float32 `(n,)` at 16 kHz."""
        samples = np.concatenate([self._rest, block])
        # Groups of one size, so that blocks of any length give the same rounding.
        step = 2 * _GROUP * _HOP
        groups = max(0, (len(samples) - 2 * (_WINDOW - _HOP)) // step)
        for number in range(groups):
            start = number * step
            self._levels.append(_band_levels(samples[start : start + step + 2 * (_WINDOW - _HOP)], _GROUP))
        self._rest = samples[groups * step :]

    def finish(self) -> str:
        """Return the fingerprint as text; empty for a recording without peaks, such as silence."""
        left = (len(self._rest) // 2 - _WINDOW) // _HOP + 1
        if left > 0:
            self._levels.append(_band_levels(self._rest, left))
        if not self._levels:
            return ""
        hashes, frames = _landmarks(*_peaks(np.concatenate(self._levels)))
        found, first, count = np.unique(hashes, return_index=True, return_counts=True)
        # What repeats (a tone, hum) does not tell recordings apart, nor where they are.
        once = np.flatnonzero(count == 1)[:_KEPT]
        record = np.zeros(len(once), _RECORD)
        record["hash"], record["frame"] = found[once], frames[first[once]]
        return base64.b64encode(record.tobytes()).decode()


def decode_fingerprint(text: str) -> Fingerprint:
    """Return a fingerprint from its text.

    Raises:
        ValueError: The text is not one that `Fingerprinter.finish` returned.
    """
    record = np.frombuffer(base64.b64decode(text, validate=True), _RECORD)
    return Fingerprint(record["hash"].astype(np.uint32), record["frame"].astype(np.int64))


def _filters() -> NDArray[np.float32]:
    """Return triangular filters on a logarithmic scale, `(bins, bands)`."""
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 2)
    hz = np.fft.rfftfreq(_WINDOW, 1 / _RATE)[:, None]
    rising, falling = (hz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hz) / np.diff(edges)[1:]
    filters = np.clip(np.minimum(rising, falling), 0, None)
    # The lowest bands can lie between two bins.
    empty = np.flatnonzero(~filters.any(axis=0))
    filters[np.argmin(np.abs(hz - edges[1:-1][empty]), axis=0), empty] = 1
    result: NDArray[np.float32] = filters.astype(np.float32)
    return result


_FILTERS = _filters()
_HANN = np.hanning(_WINDOW).astype(np.float32)


def _band_levels(samples: NDArray[np.float32], count: int) -> NDArray[np.uint8]:
    """Return the levels above -80 dB of samples at 16 kHz in steps of half a dB, `(count, bands)`."""
    size = len(samples) // 2
    half = (samples[: 2 * size : 2] + samples[1 : 2 * size : 2]) * np.float32(0.5)
    frames = np.lib.stride_tricks.sliding_window_view(half, _WINDOW)[::_HOP][:count] * _HANN
    spectrum = np.fft.rfft(frames).astype(np.complex64)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)) @ _FILTERS / (_WINDOW / 4)
    level = (10 * np.log10(power + 1e-12) - _QUIETEST_DB) * _STEPS_PER_DB
    levels: NDArray[np.uint8] = np.clip(level, 0, 255).astype(np.uint8)
    return levels


def _peaks(levels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return frames and bands of the peaks, by frame."""
    around = _largest_around(_largest_around(levels, _REACH_BANDS, 1), _REACH_FRAMES, 0)
    floor = max(1, int(levels.max()) - int(_FLOOR_DB * _STEPS_PER_DB))
    frames, bands = np.nonzero((levels == around) & (levels >= floor))
    return frames, bands


def _largest_around(levels: NDArray[np.uint8], reach: int, axis: int) -> NDArray[np.uint8]:
    """Return the largest value within `reach` of each place along an axis."""
    values = np.moveaxis(levels, axis, 0)
    found = values.copy()
    for shift in range(1, min(reach, len(values) - 1) + 1):
        np.maximum(found[:-shift], values[shift:], out=found[:-shift])
        np.maximum(found[shift:], values[:-shift], out=found[shift:])
    return np.moveaxis(found, 0, axis)


def _landmarks(frames: NDArray[np.int64], bands: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return hashes and times of all landmarks."""
    hashes, times = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for second, third in combinations(range(1, _FAN + 1), 2):
        first = np.arange(max(0, len(frames) - third))
        near, far = frames[first + second] - frames[first], frames[first + third] - frames[first]
        wide = (far >= _SHORTEST) & (far <= _LONGEST)
        first, near, far = first[wide], near[wide] // 3, far[wide] // 3
        parts = (bands[first], bands[first + second], bands[first + third], near, far)
        packed = np.zeros(len(first), np.uint64)
        for part in parts:
            packed = packed * np.uint64(64) + part.astype(np.uint64)
        hashes.append(_mixed(packed))
        times.append(frames[first])
    return np.concatenate(hashes), np.concatenate(times)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Return hashes whose order does not depend on that of the values (the mixer of splitmix64)."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(32)).astype(np.uint32)
