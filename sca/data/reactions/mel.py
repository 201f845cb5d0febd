"""The log-mel spectrogram of CED taggers: 64 bands in decibels, one frame every 10 ms.

It equals torchaudio's MelSpectrogram(n_fft=512, hop_length=160, n_mels=64) followed by AmplitudeToDB (RicherMans/CED,
`onnx_inference_with_torchaudio.py`). It is computed once for a whole recording; the limit of 120 dB is applied per
window.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["BANDS", "FFT", "FRAMES_PER_BLOCK", "MEL_STEP", "ced_mel", "hann_and_filters", "limit_range"]

BANDS = 64
MEL_STEP = 160
"""Samples from one frame to the next."""

FFT = 512
_FLOOR = 1e-10
_RANGE_DB = np.float32(120)
FRAMES_PER_BLOCK = 4096  # bounds the memory of the spectra


def ced_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the spectrogram of a recording.

    Args:
        samples: float32 `(n,)` at 16 kHz, n greater than 256.

    Returns:
        Decibels, float32 `(1 + n // 160, 64)`; frame i is centred on sample 160 i.
    """
    padded = np.pad(samples, FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::MEL_STEP]
    window, filters = hann_and_filters(FFT, 0.0, HEARD_HZ / 2)
    mel = np.empty((len(frames), BANDS), np.float32)
    for i in range(0, len(frames), FRAMES_PER_BLOCK):
        spectrum = np.fft.rfft(frames[i : i + FRAMES_PER_BLOCK] * window, axis=-1)
        power = (spectrum.real**2 + spectrum.imag**2) @ filters
        mel[i : i + FRAMES_PER_BLOCK] = 10 * np.log10(np.maximum(power, _FLOOR))
    return mel


def limit_range(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raise the values of each window `(batch, frames, bins)` to at most 120 dB below its loudest bin."""
    loudest = windows.max(axis=(1, 2), keepdims=True)
    limited: NDArray[np.float32] = np.maximum(windows, loudest - _RANGE_DB)
    return limited


@cache
def hann_and_filters(
    window: int, low_hz: float, high_hz: float, *, triangles_in_mel: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a periodic Hann window and HTK's triangular filters.

    Args:
        window: Samples of the window.
        low_hz: The lower edge of the lowest band.
        high_hz: The upper edge of the highest band.
        triangles_in_mel: Whether the filters are triangles on the mel scale, and not in Hz.

    Returns:
        Float64 `(window,)` and `(257, 64)`.
    """
    from transformers.audio_utils import mel_filter_bank

    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    filters = mel_filter_bank(
        num_frequency_bins=FFT // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=low_hz,
        max_frequency=high_hz,
        sampling_rate=HEARD_HZ,
        norm=None,
        mel_scale="htk",
        triangularize_in_mel_space=triangles_in_mel,
    )
    return hann, filters
