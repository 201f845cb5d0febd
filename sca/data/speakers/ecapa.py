"""ECAPA-TDNN, run by speechbrain, from the Hugging Face hub or from a folder in speechbrain's layout."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.speakers.base import EMBEDDING_SIZE, SpeakerModel
from sca.errors import InputError, MissingToolError, UpstreamError
from sca.textutil import first_line

if TYPE_CHECKING:
    from speechbrain.inference.speaker import EncoderClassifier

__all__ = ["HUB_ID", "EcapaModel"]

HUB_ID = "speechbrain/spkrec-ecapa-voxceleb"
"""The model of `ecapa` without a source, trained on VoxCeleb."""

_HYPERPARAMS = "hyperparams.yaml"
_COPY_HINT = f"copy all files of {HUB_ID} there"


class EcapaModel(SpeakerModel):
    """ECAPA-TDNN on the CPU.

    Args:
        source: A folder or hub id; `HUB_ID` by default.
        cache_dir: Where speechbrain stores its downloads; its own default if None.

    Raises:
        MissingToolError: speechbrain is missing or cannot be imported, or the folder holds no model.
        UpstreamError: The model cannot be downloaded from the hub.
        InputError: The folder's model cannot be loaded.
    """

    def __init__(self, source: str | None = None, cache_dir: Path | None = None) -> None:
        self._source = source or HUB_ID
        folder = Path(self._source).expanduser()
        is_folder = source is not None and (folder.is_dir() or source.startswith((".", "/", "~")))
        if is_folder and not (folder / _HYPERPARAMS).is_file():
            raise MissingToolError(
                f"{folder} does not contain a speechbrain model: {_HYPERPARAMS} is missing", hint=_COPY_HINT
            )
        encoder_class = _import_encoder()
        save_dir = None
        if cache_dir is not None:
            save_dir = str(cache_dir / "speechbrain" / self._source.strip("/").replace("/", "--"))
        overrides: dict[str, str] = {}
        if is_folder:
            self._source = str(folder.resolve())
            # The published file names the hub as the place of the weights, which must come from the folder.
            if "pretrained_path:" in (folder / _HYPERPARAMS).read_text(encoding="utf-8"):
                overrides["pretrained_path"] = self._source
        try:
            self._model: EncoderClassifier = encoder_class.from_hparams(
                source=self._source, run_opts={"device": "cpu"}, savedir=save_dir, overrides=overrides
            )
        except Exception as error:  # the YAML parser, the hub client and torch raise exceptions of their own
            message = f"{self._source} cannot be loaded as a speechbrain model: {first_line(error)}"
            if is_folder:
                raise InputError(message, hint=_COPY_HINT) from error
            raise UpstreamError(message, hint="download it once and give its folder: ecapa:FOLDER") from error

    @override
    def embed_speech(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            output = self._model.encode_batch(torch.from_numpy(np.ascontiguousarray(speech))[None]).cpu().numpy()
        if output.size != EMBEDDING_SIZE:
            raise InputError(f"{self._source} returns {output.size} numbers per voice, and sca stores {EMBEDDING_SIZE}")
        vector: NDArray[np.float32] = output.reshape(EMBEDDING_SIZE).astype(np.float32)
        return vector


def _import_encoder() -> "type[EncoderClassifier]":
    try:
        from speechbrain.inference import speaker
    except (ImportError, OSError) as error:  # OSError: a torchaudio built for CUDA next to a torch for the CPU
        raise MissingToolError(
            f"the speaker model ecapa needs speechbrain, which cannot be imported ({first_line(error)})",
            hint="pip install 'sca[speaker]', with a torchaudio of the same build as torch; or give an .onnx model",
        ) from error
    encoder: type[EncoderClassifier] = speaker.EncoderClassifier
    return encoder
