"""The input of smart-turn models: the last seconds of audio, normalized; for v3 as a log-mel spectrogram.

v3 takes 8 s, padded with zeros at the START: padded at the end, the same audio gives another result (0.04 became 0.97).
Sources: `LocalSmartTurnAnalyzerV3` and `_whisper_features.py` of pipecat-ai 1.14, which copy `WhisperFeatureExtractor(
chunk_length=8)` with `do_normalize=True` of huggingface/transformers.

Spectra are computed in float64, although float32 is faster and within 2e-5: the weights are int8, and a bin that rounds
to the other side changed a probability by 0.03.
"""

import numpy as np
from numpy.typing import NDArray

from sca.audio.mel import log_mel
from sca.units import HEARD_HZ

__all__ = ["V3_BINS", "V3_SAMPLES", "last_samples", "normalize", "v3_features"]

V3_SAMPLES = 8 * HEARD_HZ
"""The input length of v3, at 16 kHz."""

V3_BINS = 80
"""The mel bins of v3, which are those of Whisper tiny."""

_VARIANCE_EPS = np.float32(1e-7)  # `zero_mean_unit_var_norm` of transformers


def last_samples(x: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Return the last `samples` of `(n,)`, padded with zeros at the start: `(samples,)`."""
    end = x[-samples:]
    if len(end) == samples:
        return end
    padded = np.zeros(samples, x.dtype)
    padded[samples - len(end) :] = end
    return padded


def normalize(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize `(n,)` to zero mean and unit variance, in float32 like the reference. Silence stays silence."""
    result: NDArray[np.float32] = (x - x.mean()) / np.sqrt(x.var() + _VARIANCE_EPS)
    return result


def v3_features(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the input of smart-turn v3.

    Args:
        x: Float32 `(n,)` at 16 kHz. The last 8 s are used.

    Returns:
        Float32 `(80, 800)`.
    """
    return log_mel(normalize(last_samples(x, V3_SAMPLES)), V3_BINS)
