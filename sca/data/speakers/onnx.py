"""Speaker models as ONNX files: WeSpeaker (ECAPA, ResNet, CAM++) and 3D-Speaker's CAM++, run by onnxruntime.

Both take `(1, frames, 80)` Kaldi features without their mean and give `(1, size)`. They differ in the window: WeSpeaker was
trained with Hamming's, 3D-Speaker with Povey's (its files, as sherpa-onnx exports them, say so in their metadata), and in whether
samples are in the range of 16-bit integers, which the mean takes out again.
Sources: wespeaker/wespeaker `wespeaker/cli/speaker.py`, k2-fsa/sherpa-onnx `speaker-embedding-extractor-general-impl.h`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.audio.fbank import FBANK_BINS, kaldi_fbank
from sca.data.speakers.base import EMBEDDING_SIZE
from sca.errors import InputError, MissingToolError
from sca.onnx_session import open_session
from sca.textutil import first_line

__all__ = ["OnnxSpeakerModel"]

_INT16_SCALE = np.float32(32768)
_WHICH = "give an ECAPA-TDNN or CAM++ of 192 numbers, or none"


class OnnxSpeakerModel:
    """A model in one file. Raises `MissingToolError` without the file, `InputError` for one that is no such model."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingToolError(
                f"there is no speaker model {path}", hint="give the .onnx file of a speaker model, ecapa, or none"
            )
        try:
            self._session: Any = open_session(path)
        except Exception as error:  # onnxruntime's own classes are private; whatever it is, the file is no model
            raise InputError(f"{path} cannot be loaded as an ONNX model", hint=_WHICH) from error
        self._path = path
        self._input = self._only_input()
        said = self._session.get_modelmeta().custom_metadata_map
        self._window = "povey" if said.get("framework", "").lower() == "3d-speaker" else "hamming"
        rate = said.get("sample_rate", "16000")
        if rate != "16000":
            raise InputError(f"{path} wants sound at {rate} Hz, and sca gives it 16000 Hz", hint=_WHICH)
        self.vector(
            np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
        )  # a wrong model shows itself here

    def _only_input(self) -> str:
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        if shape is None or len(shape) != 3 or (shape[2] not in (FBANK_BINS, None) and not isinstance(shape[2], str)):
            shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise InputError(
                f"{self._path} is no speaker model: it takes {shapes}, not one input (batch, frames, 80)", hint=_WHICH
            )
        return str(inputs[0].name)

    def vector(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `SpeakerModel`."""
        features = kaldi_fbank(speech * _INT16_SCALE, window=self._window)
        features -= features.mean(axis=0, keepdims=True)
        try:
            found = np.asarray(self._session.run(None, {self._input: features[None]})[0], np.float32)
        except Exception as error:  # the same: the classes are private
            raise InputError(f"{self._path} failed on {len(features)} frames: {first_line(error)}") from error
        if found.size != EMBEDDING_SIZE:
            raise InputError(
                f"{self._path} gives {found.size} numbers a voice, and sca stores {EMBEDDING_SIZE}", hint=_WHICH
            )
        return found.reshape(EMBEDDING_SIZE)
