"""Kaldi's log-mel filterbank: the features of WeSpeaker, CAM++ and other ONNX speaker models.

Computed with transformers' numpy functions at 16 kHz, in frames of 25 ms every 10 ms. Dither is off, so the same audio
gives the same features. Mean subtraction and scaling depend on the model and are left to the caller.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["FBANK_BINS", "kaldi_fbank"]

FBANK_BINS = 80
_FRAME_SAMPLES, _HOP_SAMPLES, _FFT_SAMPLES = 400, 160, 512
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07  # the epsilon of float32, as in Kaldi and torchaudio


def kaldi_fbank(x: NDArray[np.float32], *, bins: int = FBANK_BINS, window: str = "povey") -> NDArray[np.float32]:
    """Compute log filterbank energies.

    Args:
        x: Samples, float32 `(n,)` at 16 kHz. Scaling `x` adds a constant to the result, except where the floor applies.
        bins: Number of mel bands.
        window: `povey` (Kaldi's default) or `hamming`.

    Returns:
        Float32 `(frames, bins)` with frames = 1 + (n - 400) // 160; no frames if n < 400.

    Raises:
        ValueError: `x` has another dtype or shape.
    """
    if x.dtype != np.float32 or x.ndim != 1:
        raise ValueError(f"expected float32 (n,), got {x.dtype} {x.shape}")
    if len(x) < _FRAME_SAMPLES:
        return np.zeros((0, bins), np.float32)
    from transformers.audio_utils import spectrogram

    shape, filters = _tables(bins, window)
    features: NDArray[np.float32] = spectrogram(
        x,
        window=shape,
        frame_length=_FRAME_SAMPLES,
        hop_length=_HOP_SAMPLES,
        fft_length=_FFT_SAMPLES,
        power=2.0,
        center=False,
        preemphasis=_PREEMPHASIS,
        mel_filters=filters,
        log_mel="log",
        mel_floor=_FLOOR,
        remove_dc_offset=True,
    ).T.astype(np.float32)
    return features


@cache
def _tables(bins: int, window: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the window and the mel filters."""
    from transformers.audio_utils import mel_filter_bank, window_function

    filters = mel_filter_bank(
        num_frequency_bins=_FFT_SAMPLES // 2 + 1,
        num_mel_filters=bins,
        min_frequency=_LOWEST_HZ,
        max_frequency=HEARD_HZ / 2,
        sampling_rate=HEARD_HZ,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return window_function(_FRAME_SAMPLES, window, periodic=False), filters
