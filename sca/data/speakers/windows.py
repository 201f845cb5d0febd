"""Speaker embeddings of short overlapping windows of a recording, for diarization, from any model of this package."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.samples import Samples
from sca.data.speakers.base import SpeakerModel, WindowModel
from sca.errors import UsageError
from sca.models import resolve
from sca.units import HEARD_HZ

__all__ = ["PieceWindows", "load_window_model"]

_PIECE_SAMPLES = 3 * HEARD_HZ // 2
_PIECE_HOP_SAMPLES = HEARD_HZ // 2
_PIECE_THRESHOLD = 0.5
"""ECAPA-TDNN and CAM++ on VoxCeleb give different speakers cosines of about 0.1, and the same speaker 0.6 to 0.8."""


class PieceWindows(WindowModel):
    """Windows of 1.5 s every 0.5 s, each embedded by a model that takes speech of any length."""

    window_samples = _PIECE_SAMPLES
    hop_samples = _PIECE_HOP_SAMPLES
    threshold = _PIECE_THRESHOLD

    def __init__(self, model: SpeakerModel) -> None:
        self._model = model

    @override
    def embed_windows(self, samples: Samples, starts: Sequence[int]) -> NDArray[np.float32]:
        return np.stack([self._model.embed_speech(samples[start : start + _PIECE_SAMPLES]) for start in starts])


def load_window_model(name: str, cache_dir: Path | None = None) -> WindowModel:
    """Load the model that diarization uses.

    Args:
        name: `dvector` or another model of `sca.models`; the path of an .onnx file (d-vector, WeSpeaker, CAM++), whose
            embeddings may have any size; or `ecapa`, `ecapa:FOLDER` or `ecapa:HUB_ID`.
        cache_dir: Where speechbrain stores its downloads, and where fetched models are.

    Raises:
        UsageError: The name has another form.
        MissingToolError: The model, or the library that runs it, is missing.
        InputError: The file is not a speaker model.
        UpstreamError: The model cannot be downloaded from the hub.
    """
    kind, _, source = name.partition(":")
    if kind == "ecapa":
        from sca.data.speakers.ecapa import EcapaModel

        return PieceWindows(EcapaModel(source or None, cache_dir))
    fetched = resolve(name, cache_dir)
    file = next(iter(sorted(fetched.glob("*.onnx"))), fetched) if fetched else Path(name).expanduser()
    if not fetched and not name.lower().endswith(".onnx"):
        raise UsageError(
            f"a diarization model is dvector, ecapa, ecapa:FOLDER-OR-HUB-ID or an .onnx file, got {name!r}",
            hint="sca models get dvector fetches the default",
        )
    from sca.data.speakers.dvector import DVectorWindows, is_dvector
    from sca.data.speakers.onnx import OnnxSpeakerModel

    return DVectorWindows(file) if is_dvector(file) else PieceWindows(OnnxSpeakerModel(file, size=None))
