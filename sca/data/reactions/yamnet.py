"""YAMNet as a tagger: the 8-bit ONNX file of the catalogue's model `yamnet`, run by onnxruntime.

It takes a log-mel spectrogram `(1, 1, 96, 64)` of 0.96 s in 8 bits and returns the logits of 521 AudioSet classes in 8
bits. The features are those of YAMNet itself (tensorflow/models `research/audioset/yamnet`, `features.py` and
`params.py`): magnitudes of windows of 25 ms every 10 ms, 64 HTK mel bands from 125 to 7500 Hz, log(x + 0.001).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.reactions.base import Tagger
from sca.data.reactions.labels import find_labels
from sca.data.reactions.mel import BANDS, FFT, FRAMES_PER_BLOCK, MEL_STEP, hann_and_filters
from sca.data.runs.files import sha256_of
from sca.errors import InputError
from sca.models import models
from sca.onnx_session import open_session
from sca.textutil import first_line

__all__ = ["YamnetTagger", "is_yamnet", "yamnet_mel"]

_HINT = "sca models get yamnet fetches the whole model"
_FRAMES = 96
_WINDOW = 400
_LOG_OFFSET = 0.001
# Constants in the graph of the file: `audio_scale`, `audio_zero_point`, `class_scores_scale`, `class_scores_zero_point`.
# The smallest input, -144 x 0.0479 = -6.90, is log(0.001): the features that the file was calibrated with.
_INPUT_SCALE, _INPUT_ZERO = 0.047937885, 144
_OUTPUT_SCALE, _OUTPUT_ZERO = 0.7565417, 190


def is_yamnet(path: Path) -> bool:
    """Return whether a file is the ONNX file of the catalogue, for which the constants above hold."""
    known = next(file for file in models()["yamnet"].files if file.path == "model.onnx")
    return path.stat().st_size == known.size and sha256_of(path) == known.sha256


class YamnetTagger(Tagger):
    """The tagger, run on one thread. The levels of its logits are 0.76 apart, so scores near 0.5 are coarse.

    Raises:
        InputError: The weights beside the file are missing or damaged, or the class names do not fit.
        MissingToolError: The names of its classes were not found.
    """

    own_table = "yamnet"
    window_samples = (_FRAMES + 2) * MEL_STEP  # 96 windows of 25 ms take 15,600 samples; a multiple of 160 is required

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._session = open_session(path)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{path} cannot be loaded: {first_line(error)}", hint=_HINT) from error
        self._input = str(self._session.get_inputs()[0].name)
        classes = self._session.get_outputs()[0].shape[1]
        self.labels = find_labels(path, {})
        if len(self.labels) != classes:
            raise InputError(f"{path} has {classes} classes, but {len(self.labels)} names were found", hint=_HINT)

    @override
    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        mel = np.round(yamnet_mel(samples) / _INPUT_SCALE + _INPUT_ZERO).clip(0, 255).astype(np.uint8)
        logits = np.empty((len(starts), len(self.labels)), np.float32)
        for i, start in enumerate(starts):
            patch = mel[start // MEL_STEP :][:_FRAMES].reshape(1, 1, _FRAMES, BANDS)
            try:
                output = self._session.run(None, {self._input: patch})[0]
            except Exception as error:  # the exception classes of onnxruntime are private
                raise InputError(f"{self._path} failed: {first_line(error)}") from error
            logits[i] = (np.asarray(output[0], np.float32) - _OUTPUT_ZERO) * np.float32(_OUTPUT_SCALE)
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)


def yamnet_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the features of a recording.

    Args:
        samples: float32 `(n,)` at 16 kHz, n at least 512.

    Returns:
        Float32 `(1 + (n - 400) // 160, 64)`; frame i is the window of 400 samples from sample 160 i on.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::MEL_STEP]
    window, filters = hann_and_filters(_WINDOW, 125.0, 7500.0, triangles_in_mel=True)
    mel = np.empty((len(frames), BANDS), np.float32)
    for i in range(0, len(frames), FRAMES_PER_BLOCK):
        magnitude = np.abs(np.fft.rfft(frames[i : i + FRAMES_PER_BLOCK] * window, n=FFT, axis=-1))
        mel[i : i + FRAMES_PER_BLOCK] = np.log(magnitude @ filters + _LOG_OFFSET)
    return mel
