"""Speaker-embedding models as ONNX files: WeSpeaker (ECAPA, ResNet, CAM++) and 3D-Speaker's CAM++, run by onnxruntime.

Both take mean-normalized Kaldi features `(1, frames, 80)` and return `(1, size)`. They differ in the window: WeSpeaker
was trained with a Hamming window, 3D-Speaker with a Povey window. The files that sherpa-onnx exports name the framework
in their metadata. The scale of the samples does not matter, because the mean normalization removes it.
Sources: wespeaker/wespeaker `wespeaker/cli/speaker.py`, k2-fsa/sherpa-onnx
    `speaker-embedding-extractor-general-impl.h`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.fbank import FBANK_BINS, kaldi_fbank
from sca.audio.pcm import INT16_SCALE
from sca.data.speakers.base import EMBEDDING_SIZE, SpeakerModel
from sca.errors import InputError, MissingToolError
from sca.onnx_session import open_session
from sca.textutil import first_line
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxSpeakerModel", "open_speaker_file"]

_HINT = "give an ECAPA-TDNN or CAM++ model with 192 outputs, or none"


def open_speaker_file(path: Path) -> "InferenceSession":
    """Open the ONNX file of a speaker model.

    Raises:
        MissingToolError: The file does not exist.
        InputError: It is not an ONNX model.
    """
    if not path.is_file():
        raise MissingToolError(
            f"the speaker model {path} does not exist",
            hint="give the .onnx file of a speaker model, ecapa, or none",
        )
    try:
        session: InferenceSession = open_session(path)
    except Exception as error:  # the exception classes of onnxruntime are private
        raise InputError(f"{path} cannot be loaded as an ONNX model", hint=_HINT) from error
    return session


class OnnxSpeakerModel(SpeakerModel):
    """A speaker model in one ONNX file.

    Args:
        path: The file.
        size: How many numbers the model has to return; None accepts any.

    Raises:
        MissingToolError: The file does not exist.
        InputError: The file is not a speaker model that takes 80 features per frame and returns `size` numbers.
    """

    def __init__(self, path: Path, *, size: int | None = EMBEDDING_SIZE) -> None:
        self._size = size
        self._session = open_speaker_file(path)
        self._path = path
        self._input = self._input_name()
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._window = "povey" if metadata.get("framework", "").lower() == "3d-speaker" else "hamming"
        rate = metadata.get("sample_rate", str(HEARD_HZ))
        if rate != str(HEARD_HZ):
            raise InputError(f"{path} takes audio at {rate} Hz, and sca provides {HEARD_HZ} Hz", hint=_HINT)
        # A trial run on one second of noise, so that an unsuitable model fails on loading.
        self.embed_speech(np.random.default_rng(0).normal(0, 0.1, HEARD_HZ).astype(np.float32))

    def _input_name(self) -> str:
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        if shape is None or len(shape) != 3 or (shape[2] not in (FBANK_BINS, None) and not isinstance(shape[2], str)):
            shapes = ", ".join(f"{node.name} {node.shape}" for node in inputs)
            raise InputError(
                f"{self._path} is not a speaker model: it takes {shapes}, not one input (batch, frames, 80)", hint=_HINT
            )
        return str(inputs[0].name)

    @override
    def embed_speech(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        features = kaldi_fbank(speech * INT16_SCALE, window=self._window)
        features -= features.mean(axis=0, keepdims=True)
        try:
            output = np.asarray(self._session.run(None, {self._input: features[None]})[0], np.float32)
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{self._path} failed on {len(features)} frames: {first_line(error)}") from error
        if self._size is not None and output.size != self._size:
            raise InputError(
                f"{self._path} returns {output.size} numbers per voice, and sca stores {self._size}", hint=_HINT
            )
        return output.reshape(-1)
