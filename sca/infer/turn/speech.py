"""Whether the audio of a request has speech, because the model answers "finished" for silence and noise."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import SileroVad

__all__ = ["SpeechCheck", "has_level_changes", "has_speech"]

SpeechCheck = Literal["energy", "silero", "off"]

_FRAME_SAMPLES = 320  # 20 ms
_LEAST_LEVEL = 10 ** (-55 / 20)  # RMS, of full scale
_LEAST_RANGE = 10 ** (12 / 20)
_LEAST_FRAMES = 5
_ONSET = 0.5


def has_level_changes(x: NDArray[np.float32]) -> bool:
    """Return whether the level of some audio changes as that of speech does.

    Syllables and pauses change the level by more than 12 dB within a phrase; that of noise and tones is steady. At least
    100 ms must be louder than -55 dB of full scale.

    Args:
        x: Float32 `(n,)` at 16 kHz.
    """
    frames = len(x) // _FRAME_SAMPLES
    if not frames:
        return False
    parts = x[len(x) - frames * _FRAME_SAMPLES :].reshape(frames, _FRAME_SAMPLES)
    levels = np.sort(np.sqrt(np.einsum("ij,ij->i", parts, parts) / _FRAME_SAMPLES))
    loud = float(levels[-min(_LEAST_FRAMES, frames)])
    return loud > _LEAST_LEVEL and loud > _LEAST_RANGE * float(levels[frames // 10])


def has_speech(vad: SileroVad, x: NDArray[np.float32]) -> bool:
    """Return whether the Silero VAD detects speech in float32 `(n,)` at 16 kHz."""
    return bool((vad.probabilities(x) > _ONSET).any())
