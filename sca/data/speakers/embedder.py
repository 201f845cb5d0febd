"""Speaker embeddings of whole recordings: speech is cut out with the VAD, embedded in pieces and averaged.

Pauses and applause do not affect the vector. Without a model, or with too little speech, it returns None and
not a placeholder.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import SileroVad, speech_segments
from sca.data.speakers.base import SpeakerModel
from sca.units import HEARD_HZ

__all__ = ["MIN_AUDIO_SAMPLES", "SpeakerEmbedder"]

MIN_AUDIO_SAMPLES = 3 * HEARD_HZ
"""Shortest recording that gets an embedding: 3 s at 16 kHz."""

_MIN_SPEECH_SAMPLES = HEARD_HZ
_PIECE_SAMPLES = 10 * HEARD_HZ
_MAX_PIECES = 30  # five minutes of speech; more does not make the mean more accurate, but takes longer


class SpeakerEmbedder:
    """Computes the speaker embedding of recordings. One thread at a time may use an instance.

    Args:
        model: The model, or None for an embedder that always returns None.
        vad: The voice activity detector; loaded on first use by default.
    """

    def __init__(self, model: SpeakerModel | None, vad: SileroVad | None = None) -> None:
        self._model = model
        self._vad = vad

    @property
    def has_model(self) -> bool:
        """Whether a model is set, so that `embed` can return a vector."""
        return self._model is not None

    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Compute the embedding of the speaker of a recording.

        Speech is cut into pieces of about 10 s. Of more than 30 pieces, 30 evenly spaced ones are used. The result is
        the normalized mean of the normalized vectors of the pieces.

        Args:
            samples: float32 `(n,)` at 16 kHz.

        Returns:
            float32 `(192,)` with norm 1; None without a model, for less than 3 s of audio, for less than 1 s of speech,
            or if the model returns no finite vector.

        Raises:
            ValueError: `samples` has another dtype or shape.
        """
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {samples.dtype} {samples.shape}")
        if self._model is None or len(samples) < MIN_AUDIO_SAMPLES:
            return None
        speech = self._speech(samples)
        if len(speech) < _MIN_SPEECH_SAMPLES:
            return None
        vectors = [_normalized(self._model.embed_speech(piece)) for piece in _pieces(speech)]
        valid = [vector for vector in vectors if vector is not None]
        return _normalized(np.mean(valid, axis=0, dtype=np.float32)) if valid else None

    def _speech(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._vad is None:
            self._vad = SileroVad()
        spans = speech_segments(self._vad.probabilities(samples), total_samples=len(samples))
        return np.concatenate([samples[start:end] for start, end in spans]) if spans else samples[:0]


def _pieces(speech: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """Cut speech of at least 1 s into equal pieces of about 10 s."""
    count = max(1, round(len(speech) / _PIECE_SAMPLES))
    pieces = np.array_split(speech, count)
    if count <= _MAX_PIECES:
        return pieces
    return [pieces[i * count // _MAX_PIECES] for i in range(_MAX_PIECES)]


def _normalized(vector: NDArray[np.float32]) -> NDArray[np.float32] | None:
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        return None
    return (vector / norm).astype(np.float32)
