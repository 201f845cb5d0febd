"""The log-mel spectrogram of CED taggers: 64 bands, in decibels, a frame every 10 ms.

What torchaudio's MelSpectrogram(n_fft=512, hop_length=160, n_mels=64) and AmplitudeToDB give (RicherMans/CED,
`onnx_inference_with_torchaudio.py`), computed for a whole recording once; the range of 120 dB is cut per window, as there.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["CED_BINS", "MEL_STEP", "ced_mel", "cut_range"]

CED_BINS = 64
MEL_STEP = 160
"""Samples from one frame to the next."""

_FFT = 512
_FLOOR = 1e-10
_RANGE_DB = np.float32(120)
_FRAMES_AT_ONCE = 4096


def ced_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decibels `(1 + n // 160, 64)` of float32 `(n,)` at 16 kHz, n over 256; frame i is centred on sample 160 i."""
    padded = np.pad(samples, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::MEL_STEP]
    window, filters = _tables()
    mel = np.empty((len(frames), CED_BINS), np.float32)
    for i in range(0, len(frames), _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[i : i + _FRAMES_AT_ONCE] * window, axis=-1)
        power = (spectrum.real**2 + spectrum.imag**2) @ filters
        mel[i : i + _FRAMES_AT_ONCE] = 10 * np.log10(np.maximum(power, _FLOOR))
    return mel


def cut_range(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(batch, frames, bins)` with nothing more than 120 dB under the loudest bin of its window."""
    loudest = windows.max(axis=(1, 2), keepdims=True)
    cut: NDArray[np.float32] = np.maximum(windows, loudest - _RANGE_DB)
    return cut


@cache
def _tables() -> tuple[Any, Any]:
    """Periodic Hann `(512,)` and HTK's triangles `(257, 64)`, both float64."""
    from transformers.audio_utils import mel_filter_bank

    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    filters = mel_filter_bank(
        num_frequency_bins=_FFT // 2 + 1,
        num_mel_filters=CED_BINS,
        min_frequency=0.0,
        max_frequency=HEARD_HZ / 2,
        sampling_rate=HEARD_HZ,
        norm=None,
        mel_scale="htk",
    )
    return hann, filters
