"""AudioSet taggers as ONNX files, run by onnxruntime: CED (tiny to base), and models that take a waveform.

The shape of the only input decides what a file takes: `(batch, 64, frames)` and `(batch, frames, 64)` are CED's mel
spectrogram, `(batch, samples)` is float32 at 16 kHz. The output is `(batch, classes)`; outputs outside [0, 1] are
logits and are converted to probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.batches.by_length import LengthBatches
from sca.data.reactions.base import WINDOW_SAMPLES, Tagger
from sca.data.reactions.labels import find_labels
from sca.data.reactions.mel import BANDS, MEL_STEP, ced_mel, limit_range
from sca.errors import InputError
from sca.onnx_session import open_session
from sca.textutil import first_line

__all__ = ["OnnxTagger"]

_HINT = "give a CED model, or one that takes float32 audio at 16 kHz"
_BATCH_SIZE = 16

InputLayout = Literal["bins first", "frames first", "waveform"]


class OnnxTagger(Tagger):
    """A tagger in one ONNX file, run on one thread.

    Raises:
        InputError: The file is not a tagger with a supported input.
        MissingToolError: The names of its classes were not found.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session = open_session(path)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{path} cannot be loaded as an ONNX model", hint=_HINT) from error
        self._path = path
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
        layout = _input_layout(shape)
        if layout is None:
            shapes = ", ".join(f"{node.name} {node.type} {node.shape}" for node in inputs)
            raise InputError(f"{path} is not a supported tagger: it takes {shapes}", hint=_HINT)
        self._layout: InputLayout = layout
        self._input = str(inputs[0].name)
        self._has_fixed_size = isinstance(shape[0], int)
        self._batch_size = shape[0] if isinstance(shape[0], int) else _BATCH_SIZE
        self._batches = LengthBatches(self._batch_size)
        length = shape[1] if layout == "frames first" else shape[-1]
        self.window_samples = WINDOW_SAMPLES
        if isinstance(length, int):
            self.window_samples = length if layout == "waveform" else length * MEL_STEP
        self.labels = find_labels(path, self._session.get_modelmeta().custom_metadata_map)
        self._returns_logits = self._try_model()

    def _try_model(self) -> bool:
        """Return whether the model outputs logits, from a trial run on noise in which an unsuitable model fails."""
        noise = np.random.default_rng(0).normal(0, 0.1, self.window_samples).astype(np.float32)
        output = self._run(self._batch(noise, self._mel(noise), [0] * self._batch_size))
        if output.ndim != 2 or len(output) != self._batch_size:
            raise InputError(f"{self._path} returns {output.shape}, not (batch, classes)", hint=_HINT)
        if output.shape[1] != len(self.labels):
            raise InputError(
                f"{self._path} has {output.shape[1]} classes, but {len(self.labels)} names were found",
                hint="put the class names that belong to the model beside it",
            )
        return bool(output.min() < 0 or output.max() > 1)

    @override
    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        mel = self._mel(samples)

        def score(batch: Sequence[int]) -> NDArray[np.float32]:
            # The batch size of a file may be fixed, so the last batch is padded with its last window.
            size = self._batch_size if self._has_fixed_size else len(batch)
            padded = [*batch, *[batch[-1]] * (size - len(batch))]
            return self._run(self._batch(samples, mel, padded))[: len(batch)]

        found = self._batches.run(starts, [1] * len(starts), score)
        scores = np.stack(found) if found else np.zeros((0, len(self.labels)), np.float32)
        if self._returns_logits:
            return (1 / (1 + np.exp(-scores.astype(np.float64)))).astype(np.float32)
        return scores

    def _mel(self, samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
        return None if self._layout == "waveform" else ced_mel(samples)

    def _batch(
        self, samples: NDArray[np.float32], mel: NDArray[np.float32] | None, starts: Sequence[int]
    ) -> NDArray[np.float32]:
        """Return the model's input for the windows at `starts`."""
        if mel is None:
            return np.stack([samples[start : start + self.window_samples] for start in starts])
        frames = self.window_samples // MEL_STEP
        windows = limit_range(np.stack([mel[start // MEL_STEP :][:frames] for start in starts]))
        return np.ascontiguousarray(windows.swapaxes(1, 2)) if self._layout == "bins first" else windows

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return np.asarray(self._session.run(None, {self._input: batch})[0], np.float32)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(
                f"{self._path} failed on an input of {batch.shape}: {first_line(error)}", hint=_HINT
            ) from error


def _input_layout(shape: Sequence[int | str | None]) -> InputLayout | None:
    match shape:
        case [_, _]:
            return "waveform"
        case [_, bins, _] if bins == BANDS:
            return "bins first"
        case [_, _, bins] if bins == BANDS:
            return "frames first"
        case _:
            return None
