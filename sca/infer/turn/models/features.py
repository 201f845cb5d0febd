"""What a smart-turn model hears: the last seconds of the audio, on one level, v3's as a log-mel spectrogram.

Knows arrays only. v3 hears 8 s, padded with zeros in FRONT: padded at the end the same words get another answer (0.04 became
0.97). Sources: `LocalSmartTurnAnalyzerV3` and `_whisper_features.py` in pipecat-ai 1.14, which copy `WhisperFeatureExtractor(
chunk_length=8)` with `do_normalize=True` of huggingface/transformers.

Spectra are float64 although float32 would be faster and within 2e-5: the weights are int8, a bin that rounds to the other
side moved a probability by 0.03.
"""

import numpy as np

from sca.audio.mel import log_mel
from sca.units import HEARD_HZ

__all__ = ["V3_BINS", "V3_SAMPLES", "last_samples", "normalized", "v3_features"]

V3_SAMPLES = 8 * HEARD_HZ
"""Samples at 16 kHz that v3 hears."""

V3_BINS = 80
"""Mel bands of v3, those of Whisper tiny."""

_VARIANCE_EPS = np.float32(1e-7)  # `zero_mean_unit_var_norm` of transformers


def last_samples(x: np.ndarray, samples: int) -> np.ndarray:
    """The last `samples` of `(n,)`, zeros in front of what is shorter: `(samples,)`."""
    kept = x[-samples:]
    if len(kept) == samples:
        return kept
    padded = np.zeros(samples, x.dtype)
    padded[samples - len(kept) :] = kept
    return padded


def normalized(x: np.ndarray) -> np.ndarray:
    """Float32 `(n,)` at zero mean and unit variance. Computed in float32, like the reference; silence stays silence."""
    result: np.ndarray = (x - x.mean()) / np.sqrt(x.var() + _VARIANCE_EPS)
    return result


def v3_features(x: np.ndarray) -> np.ndarray:
    """The input of smart-turn v3: float32 `(80, 800)` of float32 `(n,)` at 16 kHz, of which the last 8 s count."""
    return log_mel(normalized(last_samples(x, V3_SAMPLES)), V3_BINS)
