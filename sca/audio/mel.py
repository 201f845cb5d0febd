"""The log-mel spectrogram of Whisper and Qwen3-Omni, in numpy, vectorised over a batch.

The input is 16 kHz audio; there is no padding to 30 s and no attention mask. Each item of a batch is computed
independently (with its own reflected edges and its own loudness clamp), so a training row and the live loop get the
same features.

Sources: `log_mel_spectrogram` in openai/whisper `whisper/audio.py`, `WhisperFeatureExtractor` in
huggingface/transformers `feature_extraction_whisper.py`; the filterbank is M. Slaney's Auditory Toolbox (1998) as in
librosa's `filters.mel(htk=False, norm="slaney")`. Spectra are computed in float64, like transformers' numpy path, and
agree with it to 1e-6. Its torch path works in float32 and differs from its numpy path by up to 2.5e-5 in the quietest
bins.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ, MEL_HOP_SAMPLES

__all__ = ["MEL_BINS", "log_mel", "mel_filters"]

MEL_BINS = 128
"""Mel bands of a frame in Whisper large-v3 and Qwen3-Omni.

Earlier Whisper models, and models derived from them, use 80.
"""

_WINDOW_SAMPLES = 400
_EDGE_SAMPLES = _WINDOW_SAMPLES // 2
_POWER_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0  # in log10 of power: 80 dB below the loudest bin of the item
_FRAMES_AT_ONCE = 128  # 0.4 MB of float64 fit the cache: half the time of 2048 frames, with bit-identical results
_BANDS_AT_ONCE = 16


def log_mel(chunks: NDArray[np.float32], bins: int = MEL_BINS) -> NDArray[np.float32]:
    """Compute the log-mel spectrogram of one item or of a batch.

    Args:
        chunks: Float32 `(n_samples,)` or `(batch, n_samples)` at 16 kHz.
        bins: Number of mel bands.

    Returns:
        Float32 `(bins, T)` or `(batch, bins, T)` with T = n_samples // 160. An item of a batch is bit-identical to the
        same item alone.

    Raises:
        ValueError: `chunks` has another dtype or shape, or a length that is not a multiple of 160 or is less than 201
            (the edges are reflected over 200 samples).
    """
    _check(chunks)
    batch = np.atleast_2d(chunks)
    frames = _frames(batch)
    spectrum = np.empty((len(batch), bins, frames.shape[1]), np.float32)
    items_at_once = max(1, _FRAMES_AT_ONCE // frames.shape[1])
    for i in range(0, len(batch), items_at_once):
        for t in range(0, frames.shape[1], _FRAMES_AT_ONCE):
            items, times = slice(i, i + items_at_once), slice(t, t + _FRAMES_AT_ONCE)
            spectrum[items, :, times] = _mel_power(frames[items, times], bins)
    np.log10(np.maximum(spectrum, _POWER_FLOOR, out=spectrum), out=spectrum)
    loudest = spectrum.max(axis=(1, 2), keepdims=True)
    np.maximum(spectrum, loudest - np.float32(_DYNAMIC_RANGE), out=spectrum)
    spectrum += 4
    spectrum /= 4
    return spectrum if chunks.ndim == 2 else spectrum[0]


def _check(chunks: NDArray[np.float32]) -> None:
    if chunks.dtype != np.float32 or chunks.ndim not in (1, 2):
        raise ValueError(f"expected float32 (n_samples,) or (batch, n_samples), got {chunks.dtype} {chunks.shape}")
    samples = chunks.shape[-1]
    if samples <= _EDGE_SAMPLES:
        raise ValueError(f"log_mel needs at least {_EDGE_SAMPLES + 1} samples, got {samples}")
    if samples % MEL_HOP_SAMPLES:
        raise ValueError(f"log_mel needs a multiple of {MEL_HOP_SAMPLES} samples, got {samples}")


def _frames(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows of 400 samples every 160, with reflected edges: a view `(batch, T, 400)`.

    Whisper drops the last frame too.
    """
    before = batch[:, _EDGE_SAMPLES:0:-1]
    after = batch[:, -2 : -_EDGE_SAMPLES - 2 : -1]
    padded = np.concatenate([before, batch, after], axis=1)
    item_stride, sample_stride = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        shape=(len(batch), batch.shape[1] // MEL_HOP_SAMPLES, _WINDOW_SAMPLES),
        strides=(item_stride, MEL_HOP_SAMPLES * sample_stride, sample_stride),
        writeable=False,
    )


def _mel_power(frames: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Return the power in the mel bands, float32 `(batch, bins, t)`, of windows `(batch, t, 400)`."""
    spectrum = np.fft.rfft(frames * _window(), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32).swapaxes(1, 2)
    mel = np.empty((len(power), bins, power.shape[2]), np.float32)
    for first, low, filters in _filter_groups(bins):
        # One product per item: BLAS gets the same shape for any batch size, so the bits of an item do not depend on the
        # batch.
        np.matmul(filters, power[:, low : low + filters.shape[1]], out=mel[:, first : first + len(filters)])
    return mel


@cache
def _window() -> NDArray[np.float64]:
    """Return the periodic Hann window, float64 `(400,)`."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW_SAMPLES) / _WINDOW_SAMPLES))


@cache
def _filter_groups(bins: int) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Return the filters in groups of bands: (first band, first frequency, float32 `(bands, frequencies)`).

    A band is narrow, so most of the whole matrix is zero. Small groups also keep OpenBLAS on one thread: it distributes
    a product of more than 65536 x 4 multiplications over threads that then spin. On two busy cores that took twenty
    times as long as the product itself, and each loader worker has its own threads.
    """
    whole = mel_filters(bins).T.astype(np.float32)
    groups = []
    for first in range(0, bins, _BANDS_AT_ONCE):
        some = whole[first : first + _BANDS_AT_ONCE]
        used = np.flatnonzero(some.any(axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        groups.append((first, low, np.ascontiguousarray(some[:, low:high])))
    return groups


def mel_filters(bins: int = MEL_BINS, bins_hz: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return triangular Slaney filters over 0 to 8000 Hz, each of unit area in hertz.

    Args:
        bins: The number of filters.
        bins_hz: The frequencies of the spectrum, float64 `(n,)`. Not set: the 201 of a window of 25 ms.

    Returns:
        Float64 `(n, bins)`.
    """
    if bins_hz is None:
        bins_hz = np.linspace(0, HEARD_HZ / 2, _WINDOW_SAMPLES // 2 + 1)
    corners_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(HEARD_HZ / 2), bins + 2))
    widths_hz = np.diff(corners_hz)
    distance = corners_hz[None, :] - bins_hz[:, None]
    rising = -distance[:, :-2] / widths_hz[:-1]
    falling = distance[:, 2:] / widths_hz[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (corners_hz[2:] - corners_hz[:-2])))


# Slaney's scale: linear below 1000 Hz (15 mel), then 27 steps per factor of 6.4.
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP) if hz >= _KNEE_HZ else hz * _KNEE_MEL / _KNEE_HZ


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel >= _KNEE_MEL, _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL)), mel * _KNEE_HZ / _KNEE_MEL)
