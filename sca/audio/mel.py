"""The log-mel spectrogram of Whisper and Qwen3-Omni, in numpy, one item at a time in value and many at a time in speed.

Knows 16 kHz, 128 bins (or as many as asked for) and nothing else: no padding to 30 s, no attention mask, no batching policy. Each
item is computed as if it were alone (its own reflected edges, its own loudness clamp), which is what makes a training row and the
live loop agree.

Sources: `log_mel_spectrogram` in openai/whisper `whisper/audio.py`, `WhisperFeatureExtractor` in huggingface/transformers
`feature_extraction_whisper.py`; the filterbank is M. Slaney's Auditory Toolbox (1998) as in librosa's `filters.mel(htk=False,
norm="slaney")`. Spectra are computed in float64, like transformers' numpy path, which is met to 1e-6; its torch path works in
float32 and is itself up to 2.5e-5 away from its numpy path in the quietest bins.
"""

from functools import cache

import numpy as np

from sca.units import HEARD_HZ, MEL_HOP_SAMPLES

__all__ = ["MEL_BINS", "log_mel", "mel_filters"]

MEL_BINS = 128
"""Mel bands of a frame (Whisper large-v3 and Qwen3-Omni); earlier Whispers, and models made from them, have 80."""

_WINDOW_SAMPLES = 400
_EDGE_SAMPLES = _WINDOW_SAMPLES // 2
_POWER_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0  # in log10 of power: 80 dB below the loudest bin of the item
_FRAMES_AT_ONCE = 128  # 0.4 MB of float64 stay in the cache: half the time of 2048 at once, bit for bit the same
_BANDS_AT_ONCE = 16


def log_mel(chunks: np.ndarray, bins: int = MEL_BINS) -> np.ndarray:
    """Log-mel of float32 `(n_samples,)` or `(batch, n_samples)` at 16 kHz: float32 `(bins, T)` or `(batch, bins, T)`.

    T = n_samples // 160. An item in a batch gets the same bits as alone. Raises ValueError for another dtype or shape, a
    length that is no multiple of 160, or one under 201 samples (the edges are reflected over 200).
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


def _check(chunks: np.ndarray) -> None:
    if chunks.dtype != np.float32 or chunks.ndim not in (1, 2):
        raise ValueError(f"expected float32 (n_samples,) or (batch, n_samples), got {chunks.dtype} {chunks.shape}")
    samples = chunks.shape[-1]
    if samples <= _EDGE_SAMPLES:
        raise ValueError(f"log_mel needs at least {_EDGE_SAMPLES + 1} samples, got {samples}")
    if samples % MEL_HOP_SAMPLES:
        raise ValueError(f"log_mel needs a multiple of {MEL_HOP_SAMPLES} samples, got {samples}")


def _frames(batch: np.ndarray) -> np.ndarray:
    """Windows of 400 samples every 160, edges reflected: a view `(batch, T, 400)`; the last frame is dropped like Whisper does."""
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


def _mel_power(frames: np.ndarray, bins: int) -> np.ndarray:
    """Power in the mel bands: float32 `(batch, bins, t)` of `(batch, t, 400)`."""
    spectrum = np.fft.rfft(frames * _window(), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32).swapaxes(1, 2)
    mel = np.empty((len(power), bins, power.shape[2]), np.float32)
    for first, low, filters in _filter_groups(bins):
        # A stack of products, one per item: BLAS sees the same shape whatever the batch, so an item's bits do not depend on it.
        np.matmul(filters, power[:, low : low + filters.shape[1]], out=mel[:, first : first + len(filters)])
    return mel


@cache
def _window() -> np.ndarray:
    """Periodic Hann, float64 `(400,)`."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW_SAMPLES) / _WINDOW_SAMPLES))


@cache
def _filter_groups(bins: int) -> list[tuple[int, int, np.ndarray]]:
    """The filters, some bands at a time: (first band, first frequency, float32 `(bands, frequencies)`).

    A band is narrow, so most of the whole matrix is zeros. And OpenBLAS hands a product of more than 65536 × 4 multiplications to
    its threads, which then spin: on two busy cores that cost twenty times the product, and each loader worker has its own threads.
    """
    whole = mel_filters(bins).T.astype(np.float32)
    groups = []
    for first in range(0, bins, _BANDS_AT_ONCE):
        some = whole[first : first + _BANDS_AT_ONCE]
        used = np.flatnonzero(some.any(axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        groups.append((first, low, np.ascontiguousarray(some[:, low:high])))
    return groups


def mel_filters(bins: int = MEL_BINS) -> np.ndarray:
    """Triangular Slaney filters over 0 to 8000 Hz, each of unit area in hertz: float64 `(201, bins)`."""
    bins_hz = np.linspace(0, HEARD_HZ / 2, _WINDOW_SAMPLES // 2 + 1)
    corners_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(HEARD_HZ / 2), bins + 2))
    widths_hz = np.diff(corners_hz)
    distance = corners_hz[None, :] - bins_hz[:, None]
    rising = -distance[:, :-2] / widths_hz[:-1]
    falling = distance[:, 2:] / widths_hz[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (corners_hz[2:] - corners_hz[:-2])))


# Slaney's scale: linear below 1000 Hz (15 mel), then 27 steps to each factor of 6.4.
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP) if hz >= _KNEE_HZ else hz * _KNEE_MEL / _KNEE_HZ


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel >= _KNEE_MEL, _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL)), mel * _KNEE_HZ / _KNEE_MEL)
