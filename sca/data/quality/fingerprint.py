"""Acoustic fingerprints: the same recording has the same ones after re-encoding, resampling, another gain or a cut start.

Landmarks as in A. Wang, "An industrial-strength audio search algorithm" (ISMIR 2003), with three peaks instead of two:
the peaks of a spectrogram of 32 bands from 250 to 1900 Hz, and of each peak and two of the four that follow it a hash
of their bands and distances. Neither the gain nor the place in the recording changes a hash. Of all hashes that occur
once in a recording, the 64 smallest are kept (a bottom-k sketch, A. Broder 1997), so that a fingerprint has the same
size for a recording of any length, and copies keep the same ones.
"""

import base64
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["FRAME_S", "Fingerprint", "Fingerprinter", "decode_fingerprint"]

_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 32, 250.0, 1900.0
_DECIMATION = 4
_RATE = HEARD_HZ // _DECIMATION
_WINDOW = 256  # 64 ms at 4 kHz
_HOP = 96
_PEAK_FRAMES = 8192
"""Frames of which peaks are found at once: 3 minutes."""
_GROUP = 256  # frames that are computed at once: 6 s
_OVERLAP = _WINDOW - _HOP
FRAME_S = _HOP / _RATE
"""Seconds per frame, the unit of the times of landmarks: 24 ms."""
_REACH_FRAMES, _REACH_BANDS = 4, 4  # a peak is the largest value so far around it
_FLOOR_DB = 40.0  # a peak is not further below the largest value of the recording
_QUIETEST_DB = -80.0  # below this is the noise of quantization
_STEPS_PER_DB = 2
_FAN = 4
_COARSE = 2  # frames of a step of a distance: 48 ms
_SHORTEST, _LONGEST = 3, 84  # frames between the first and the third peak
_KEPT = 64
_SOFT = 2e-4  # -37 dB: a frame with less of the energy of the loudest one has no peak
_FIRST_BIN, _LAST_BIN = 12, 124  # those of the bands
_RECORD = np.dtype([("hash", "<u4"), ("frame", "<u4")])


class Fingerprint(NamedTuple):
    """Landmarks of a recording.

    Attributes:
        hashes: uint32 `(n,)`, ascending, without duplicates; n is at most 64.
        frames: int64 `(n,)`, their times in frames of 24 ms.
    """

    hashes: NDArray[np.uint32]
    frames: NDArray[np.int64]


class Fingerprinter:
    """Computes the fingerprint of a recording that is read in blocks. Keeps 1.3 kB per second of it."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._levels: list[NDArray[np.uint8]] = []
        self._loudest = 0.0

    def push(self, block: NDArray[np.float32]) -> None:
        """Add samples, float32 `(n,)` at 16 kHz."""
        samples = np.concatenate([self._rest, block])
        # Groups of one size, so that blocks of any length give the same rounding.
        step = _DECIMATION * _GROUP * _HOP
        groups = max(0, (len(samples) - _DECIMATION * _OVERLAP) // step)
        for start in range(0, groups * step, step):
            self._add(samples[start : start + step + _DECIMATION * _OVERLAP])
        self._rest = samples[groups * step :]

    def finish(self) -> str:
        """Return the fingerprint as text; empty for a recording without peaks, such as silence."""
        hashes, frames = self.landmarks()
        found, first, count = np.unique(hashes, return_index=True, return_counts=True)
        # Repeating sound (a tone, hum) neither distinguishes recordings nor shows their position.
        once = np.flatnonzero(count == 1)[:_KEPT]
        if not len(once):
            return ""
        record = np.zeros(len(once), _RECORD)
        record["hash"], record["frame"] = found[once], frames[first[once]]
        return base64.b64encode(record.tobytes()).decode()

    def landmarks(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the hashes of all landmarks of the recording, uint32 `(n,)`, and their frames, int64 `(n,)`."""
        if len(self._rest) >= _DECIMATION * _WINDOW:
            self._add(self._rest)
            self._rest = self._rest[:0]
        if not self._levels:
            return np.zeros(0, np.uint32), np.zeros(0, np.int64)
        return _landmarks(*_peaks(self._levels))

    def _add(self, samples: NDArray[np.float32]) -> None:
        """Add the levels of the frames in samples; 0 for soft frames."""
        frames = np.lib.stride_tricks.sliding_window_view(_decimated(samples), _WINDOW)[::_HOP]
        energy = np.einsum("ij,ij->i", frames, frames)
        # The loudest frame so far: what is soft against it is soft against the loudest one of the recording.
        self._loudest = max(self._loudest, float(energy.max()))
        heard = np.flatnonzero(energy > self._loudest * _SOFT)
        levels = np.zeros((len(frames), _BANDS), np.uint8)
        if len(heard):
            levels[heard] = _band_levels(frames[heard])
        self._levels.append(levels)


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


_FILTERS = _filters()[_FIRST_BIN:_LAST_BIN] / np.float32(_WINDOW / 4)
_MEAN = np.full(_DECIMATION, 1 / _DECIMATION, np.float32)
_HANN = np.hanning(_WINDOW).astype(np.float32)


def _decimated(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of 4 samples at 16 kHz. What they alias is the same in copies."""
    used = samples[: len(samples) // _DECIMATION * _DECIMATION]
    means: NDArray[np.float32] = used.reshape(-1, _DECIMATION) @ _MEAN
    return means


def _band_levels(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the levels above -80 dB of frames in steps of half a dB, `(n, bands)`."""
    spectrum = np.fft.rfft(frames * _HANN)[:, _FIRST_BIN:_LAST_BIN]
    power = (np.square(spectrum.real) + np.square(spectrum.imag)) @ _FILTERS
    decibels = np.log10(power + np.float32(1e-12)) * np.float32(10)
    level = (decibels - np.float32(_QUIETEST_DB)) * np.float32(_STEPS_PER_DB)
    levels: NDArray[np.uint8] = np.clip(level, 0, 255).astype(np.uint8)
    return levels


def _peaks(levels: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return frames and bands of the peaks, by frame.

    Args:
        levels: The levels of consecutive frames, `(n, bands)` each.
    """
    floor = max(1, max(int(part.max()) for part in levels) - int(_FLOOR_DB * _STEPS_PER_DB))
    frames, bands = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    # Part by part, each with what its first and last frames are compared with: the copies have the size of a part.
    edge = np.zeros((0, _BANDS), np.uint8)
    first, before, held = 0, edge, edge
    for part in (*levels, None):
        held = held if part is None else np.concatenate([held, part])
        whole = len(held) if part is None else max(0, len(held) - _REACH_FRAMES)
        if whole < _PEAK_FRAMES and part is not None:
            continue
        rows = np.ascontiguousarray(np.concatenate([before, held]).T)  # neighbouring frames in neighbouring bytes
        around = _largest_around(_largest_around(rows.T, _REACH_BANDS, 1), _REACH_FRAMES, 0).T
        own = slice(len(before), len(before) + whole)
        found = np.flatnonzero((rows[:, own] == around[:, own]) & (rows[:, own] >= floor))
        band, frame = np.divmod(found, whole) if whole else (found, found)
        by_frame = np.lexsort((band, frame))
        frames.append(frame[by_frame] + first)
        bands.append(band[by_frame])
        first += whole
        before = np.concatenate([before, held[:whole]])[-_REACH_FRAMES:]
        held = held[whole:]
    return np.concatenate(frames), np.concatenate(bands)


def _largest_around(levels: NDArray[np.uint8], reach: int, axis: int) -> NDArray[np.uint8]:
    """Return the largest value within `reach` of each place along an axis."""
    values = np.moveaxis(levels, axis, 0)
    found = values.copy(order="K")
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
        first, near, far = first[wide], near[wide] // _COARSE, far[wide] // _COARSE
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
