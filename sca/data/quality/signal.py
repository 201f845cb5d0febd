"""Measures of a recording's signal: signal-to-noise ratio, clipping and bandwidth.

All are computed from blocks at the rate of the file, since resampling removes the flat tops of clipping and everything
above the new bandwidth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.units import seconds_to_samples

__all__ = ["FRAME_S", "Signal", "SignalMeter", "snr_db"]

FRAME_S = 0.02
"""Length of the frames whose levels are compared: 20 ms."""
_CLIPPED = 0.999
"""Clipped samples are within 0.1 % of full scale."""
_LEAST_RUN = 3
"""Fewer samples in a row at full scale are also in recordings that are only loud."""
_WINDOW = 4096
_MARGIN_S = 0.2  # the VAD is late at soft edges of words
_LEAST_FRAMES = 25  # half a second on each side
_LOWEST_POWER = 1e-10  # -100 dB, the quantization noise of 16 bits: no recording has less noise
_CLIFF_DB = 18.0
_BELOW_HZ, _GUARD_HZ, _STEP_HZ = 400.0, 150.0, 50.0
_LOWEST_EDGE_HZ = 1500.0


@dataclass(frozen=True, slots=True)
class Signal:
    """What is measured without knowing where speech is.

    Attributes:
        levels: Mean square of each frame of 20 ms, float64 `(frames,)`.
        clipping: Share of the samples that are clipped: three or more in a row within 0.1 % of full scale.
        bandwidth_hz: The frequency above which the spectrum ends, such as 4000 for telephone audio at any rate; the
            Nyquist frequency if it does not end earlier, None for silence and for less than 4096 samples.
    """

    levels: NDArray[np.float64]
    clipping: float
    bandwidth_hz: int | None


class SignalMeter:
    """Measures a recording that is read in blocks of whole frames, except for the last one."""

    def __init__(self, rate_hz: int) -> None:
        """Create a meter.

        Args:
            rate_hz: The rate of the samples.
        """
        self._rate_hz = rate_hz
        self.frame_samples = seconds_to_samples(FRAME_S, rate_hz)
        self._levels: list[NDArray[np.float64]] = []
        self._spectrum = np.zeros(_WINDOW // 2 + 1)
        self._samples = self._clipped = 0

    def push(self, block: NDArray[np.float32]) -> None:
        """Add samples, float32 `(n,)`."""
        frames = block[: len(block) // self.frame_samples * self.frame_samples].reshape(-1, self.frame_samples)
        self._levels.append(np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / self.frame_samples)
        self._samples += len(block)
        self._clipped += _in_runs(np.abs(block) >= _CLIPPED)
        windows = block[: len(block) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
        if len(windows):
            spectrum = np.fft.rfft(windows * _HANN)
            self._spectrum += np.sum(np.square(spectrum.real) + np.square(spectrum.imag), axis=0, dtype=np.float64)

    def finish(self) -> Signal:
        """Return what was measured."""
        levels = np.concatenate([np.zeros(0), *self._levels])
        bandwidth = _bandwidth_hz(self._spectrum, self._rate_hz)
        return Signal(levels, self._clipped / max(1, self._samples), bandwidth)


_HANN = np.hanning(_WINDOW).astype(np.float32)


def snr_db(levels: NDArray[np.float64], speech: Sequence[tuple[float, float]]) -> float | None:
    """Return the level of speech against that of what is between it, in dB, from -20 to 100.

    The noise is the median level of the frames at least 0.2 s from speech, so that single sounds between sentences do
    not count; its power is subtracted from the mean power during speech.

    Args:
        levels: Mean square of each frame of 20 ms.
        speech: Where speech is, in seconds, sorted and disjoint.

    Returns:
        The ratio; None with less than half a second of speech, or of anything else.
    """
    times = (np.arange(len(levels)) + 0.5) * FRAME_S
    is_speech, is_near = np.zeros(len(levels), bool), np.zeros(len(levels), bool)
    for start, end in speech:
        is_speech[slice(*np.searchsorted(times, (start, end)))] = True
        is_near[slice(*np.searchsorted(times, (start - _MARGIN_S, end + _MARGIN_S)))] = True
    if np.count_nonzero(is_speech) < _LEAST_FRAMES or np.count_nonzero(~is_near) < _LEAST_FRAMES:
        return None
    noise = max(float(np.median(levels[~is_near])), _LOWEST_POWER)
    ratio = max(float(levels[is_speech].mean()) / noise - 1, 0.01)
    return min(10 * float(np.log10(ratio)), 100.0)


def _in_runs(is_clipped: NDArray[np.bool_]) -> int:
    """Return how many samples are in runs of at least three."""
    if not is_clipped.any():
        return 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_clipped, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= _LEAST_RUN].sum())


def _bandwidth_hz(power: NDArray[np.float64], rate_hz: int) -> int | None:
    """Return where a long-term power spectrum ends: at a cliff of 18 dB, above which all is lower.

    Speech falls by a few decibels over this distance, a low-pass filter or an earlier lower rate by more.
    """
    if not power.any():
        return None
    nyquist = rate_hz / 2
    hz = np.linspace(0, nyquist, len(power))
    decibels = 10 * np.log10(power / power.max() + 1e-12)
    highest_above = np.maximum.accumulate(_smooth(decibels)[::-1])[::-1]
    edges = np.arange(_LOWEST_EDGE_HZ, nyquist - _GUARD_HZ, _STEP_HZ)
    drops = np.array(
        [
            decibels[(hz >= edge - _BELOW_HZ) & (hz < edge - _GUARD_HZ)].mean()
            - highest_above[np.searchsorted(hz, edge + _GUARD_HZ)]
            for edge in edges
        ]
    )
    if not len(drops) or drops.max() < _CLIFF_DB:
        return round(nyquist)
    # The drop is as large for all edges between which the guards are free: the middle of them is the edge.
    return round(float(edges[drops > drops.max() - 3].mean()))


def _smooth(decibels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over 9 bins, so that single lines above a cutoff, such as a pilot tone, do not hide it."""
    return np.convolve(np.pad(decibels, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
