"""Kaldi's log-mel filterbank, the features of WeSpeaker, CAM++ and other ONNX speaker models, by transformers' numpy functions.

Knows 16 kHz and frames of 25 ms every 10 ms; dither is off, so the same sound gives the same features. What is subtracted or
scaled afterwards is the model's business.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["FBANK_BINS", "kaldi_fbank"]

FBANK_BINS = 80
_FRAME_SAMPLES, _HOP_SAMPLES, _FFT_SAMPLES = 400, 160, 512
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07  # float32's epsilon, as Kaldi and torchaudio have it


def kaldi_fbank(x: NDArray[np.float32], *, bins: int = FBANK_BINS, window: str = "povey") -> NDArray[np.float32]:
    """Log energies `(frames, bins)` of float32 `(n,)` at 16 kHz, frames = 1 + (n - 400) // 160, none under 400 samples.

    window: povey (Kaldi's default) or hamming. The scale of `x` only adds a constant, but where the floor is reached.
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
def _tables(bins: int, window: str) -> tuple[Any, Any]:
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
