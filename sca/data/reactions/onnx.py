"""AudioSet taggers as ONNX files, run by onnxruntime: CED (tiny to base), and models that take the sound itself.

What a file takes is read from its one input: `(batch, 64, frames)` or `(batch, frames, 64)` is CED's mel spectrogram, `(batch,
samples)` is float32 at 16 kHz. It gives `(batch, classes)`; numbers outside [0, 1] are logits and become probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sca.data.reactions.labels import find_labels
from sca.data.reactions.mel import CED_BINS, MEL_STEP, ced_mel, cut_range
from sca.data.reactions.tagger import WINDOW_SAMPLES
from sca.errors import InputError
from sca.onnx_session import open_session
from sca.textutil import first_line

__all__ = ["OnnxTagger"]

_WHICH = "give a CED model, or one that takes float32 sound at 16 kHz"
_WINDOWS_AT_ONCE = 16

Layout = Literal["bins first", "frames first", "sound"]


class OnnxTagger:
    """A tagger in one file, on one thread; see `sca.data.reactions.tagger.Tagger`.

    Raises `InputError` for a file that is no tagger, `MissingToolError` when the names of its classes are nowhere.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session: Any = open_session(path)
        except Exception as error:  # onnxruntime's own classes are private; whatever it is, the file is no model
            raise InputError(f"{path} cannot be loaded as an ONNX model", hint=_WHICH) from error
        self._path = path
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
        layout = _layout(shape)
        if layout is None:
            shapes = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise InputError(f"{path} is no tagger that sca can run: it takes {shapes}", hint=_WHICH)
        self._layout: Layout = layout
        self._input = str(inputs[0].name)
        self._at_once = shape[0] if isinstance(shape[0], int) else _WINDOWS_AT_ONCE
        length = {"bins first": shape[-1], "frames first": shape[1], "sound": shape[-1]}[layout]
        self.window_samples = WINDOW_SAMPLES
        if isinstance(length, int):
            self.window_samples = length if layout == "sound" else length * MEL_STEP
        self.labels: Sequence[str] = find_labels(path, self._session.get_modelmeta().custom_metadata_map)
        self._are_logits = self._try()

    def _try(self) -> bool:
        """Whether it gives logits. A wrong model shows itself on a second of noise."""
        noise = np.random.default_rng(0).normal(0, 0.1, self.window_samples).astype(np.float32)
        found = self._run(self._feed(noise, ced_mel(noise), [0] * self._at_once))
        if found.ndim != 2 or len(found) != self._at_once:
            raise InputError(f"{self._path} gives {found.shape}, not (batch, classes)", hint=_WHICH)
        if found.shape[1] != len(self.labels):
            raise InputError(
                f"{self._path} has {found.shape[1]} classes, and {len(self.labels)} names were found for them",
                hint="put the class names that belong to the model beside it",
            )
        return bool(found.min() < 0 or found.max() > 1)

    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        """See `Tagger.scores`."""
        mel = None if self._layout == "sound" else ced_mel(samples)
        found = np.empty((len(starts), len(self.labels)), np.float32)
        for i in range(0, len(starts), self._at_once):
            some = list(starts[i : i + self._at_once])
            filled = some + some[-1:] * (self._at_once - len(some))  # a file may be made for one size of batch only
            found[i : i + len(some)] = self._run(self._feed(samples, mel, filled))[: len(some)]
        if self._are_logits:
            return (1 / (1 + np.exp(-found.astype(np.float64)))).astype(np.float32)
        return found

    def _feed(
        self, samples: NDArray[np.float32], mel: NDArray[np.float32] | None, starts: Sequence[int]
    ) -> NDArray[np.float32]:
        if self._layout == "sound" or mel is None:
            return np.stack([samples[start : start + self.window_samples] for start in starts])
        frames = self.window_samples // MEL_STEP
        windows = cut_range(np.stack([mel[start // MEL_STEP :][:frames] for start in starts]))
        return np.ascontiguousarray(windows.swapaxes(1, 2)) if self._layout == "bins first" else windows

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return np.asarray(self._session.run(None, {self._input: batch})[0], np.float32)
        except Exception as error:  # the same: the classes are private
            why = first_line(error)
            raise InputError(f"{self._path} failed on an input of {batch.shape}: {why}", hint=_WHICH) from error


def _layout(shape: Sequence[int | str | None]) -> Layout | None:
    match shape:
        case [_, _]:
            return "sound"
        case [_, bins, _] if bins == CED_BINS:
            return "bins first"
        case [_, _, bins] if bins == CED_BINS:
            return "frames first"
        case _:
            return None
