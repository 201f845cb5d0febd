"""Whose voice is it? A vector of 192 numbers for a recording, from a model the user names, or none.

Only speech counts, so applause and silence do not move the vector. Nothing is made up: without a model, or with too little
speech, the answer is None. Models: speechbrain's ECAPA-TDNN (`ecapa`), and ONNX files of WeSpeaker and CAM++.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import SileroVad, speech_segments
from sca.units import HEARD_HZ

__all__ = [
    "EMBEDDING_SIZE",
    "LEAST_S",
    "NO_SPEAKER_MODEL",
    "SpeakerEmbedder",
    "SpeakerModel",
    "public_name",
]

EMBEDDING_SIZE = 192
LEAST_S = 3.0
"""Shortest recording that gets an embedding."""
NO_SPEAKER_MODEL = "none"

_LEAST_SPEECH_S = 1.0
_PIECE_S = 10.0
_MOST_PIECES = 30  # five minutes of speech; more does not sharpen a mean, and costs


class SpeakerModel(Protocol):
    """A loaded model. It knows no VAD and no pieces."""

    def vector(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        """The embedding `(192,)` of one piece of speech, float32 `(n,)` at 16 kHz, n at least 8000."""
        ...


class SpeakerEmbedder:
    """`embed` for one model, or for none. It can be used by one thread at a time."""

    def __init__(self, model: SpeakerModel | None, vad: SileroVad | None = None) -> None:
        self._model = model
        self._vad = vad

    @property
    def has_model(self) -> bool:
        """Whether it can give anything but None."""
        return self._model is not None

    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The voice of float32 `(n,)` at 16 kHz as float32 `(192,)` of length 1.

        None without a model, for less than 3 s of sound or less than 1 s of speech, and where the model gives no finite numbers.
        Long speech is cut into pieces of 10 s, at most 30 of them spread evenly; the vector is their mean direction.
        """
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {samples.dtype} {samples.shape}")
        if self._model is None or len(samples) < LEAST_S * HEARD_HZ:
            return None
        speech = self._speech(samples)
        if len(speech) < _LEAST_SPEECH_S * HEARD_HZ:
            return None
        directions = [_unit(self._model.vector(piece)) for piece in _pieces(speech)]
        found = [direction for direction in directions if direction is not None]
        return _unit(np.mean(found, axis=0, dtype=np.float32)) if found else None

    def _speech(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._vad is None:
            self._vad = SileroVad()
        spans = speech_segments(self._vad.probabilities(samples), total_samples=len(samples))
        return np.concatenate([samples[start:end] for start, end in spans]) if spans else samples[:0]


def _pieces(speech: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """Equal pieces of about 10 s, never shorter than 1 s."""
    count = max(1, round(len(speech) / (_PIECE_S * HEARD_HZ)))
    pieces = np.array_split(speech, count)
    if count <= _MOST_PIECES:
        return pieces
    return [pieces[i * count // _MOST_PIECES] for i in range(_MOST_PIECES)]


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32] | None:
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        return None
    return (vector / length).astype(np.float32)


def public_name(model: str) -> str:
    """A model's name without the folders of the machine it lay on, for what leaves that machine."""
    return model.replace("\\", "/").rsplit("/", 1)[-1]
