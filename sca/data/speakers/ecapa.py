"""ECAPA-TDNN through speechbrain's own class, from the hub or from a folder in speechbrain's layout."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.speakers.base import EMBEDDING_SIZE
from sca.errors import InputError, MissingToolError, UpstreamError
from sca.textutil import first_line

__all__ = ["HUB_ID", "EcapaModel"]

HUB_ID = "speechbrain/spkrec-ecapa-voxceleb"
_HYPERPARAMS = "hyperparams.yaml"


class EcapaModel:
    """The model on the CPU. source: a folder or hub id; None is the one trained on VoxCeleb.

    Raises `MissingToolError` without speechbrain (or with one whose torchaudio does not start) and for a folder without the
    model, `UpstreamError` when the hub does not give it, `InputError` when it gives something else than 192 numbers.
    """

    def __init__(self, source: str | None = None, cache_dir: Path | None = None) -> None:
        self._source = source or HUB_ID
        folder = Path(self._source).expanduser()
        is_folder = source is not None and (folder.is_dir() or source.startswith((".", "/", "~")))
        if is_folder and not (folder / _HYPERPARAMS).is_file():
            raise MissingToolError(
                f"{folder} holds no speechbrain model: {_HYPERPARAMS} is missing", hint=f"copy {HUB_ID} there whole"
            )
        encoder = _encoder_class()
        arguments: dict[str, Any] = {"run_opts": {"device": "cpu"}}
        if cache_dir is not None:
            arguments["savedir"] = str(cache_dir / "speechbrain" / self._source.strip("/").replace("/", "--"))
        if is_folder:
            self._source = str(folder.resolve())
            if "pretrained_path:" in (folder / _HYPERPARAMS).read_text(encoding="utf-8"):
                # The published file names the hub there; weights are to come from the folder.
                arguments["overrides"] = {"pretrained_path": self._source}
        try:
            self._model: Any = encoder.from_hparams(source=self._source, **arguments)
        except Exception as error:  # YAML, hub and torch each raise their own
            what = f"{self._source} cannot be loaded as a speechbrain model: {first_line(error)}"
            if is_folder:
                raise InputError(what, hint=f"copy {HUB_ID} there whole") from error
            raise UpstreamError(what, hint="download it once and give its folder: ecapa:FOLDER") from error

    def vector(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `SpeakerModel`."""
        import torch

        with torch.inference_mode():
            found = self._model.encode_batch(torch.from_numpy(np.ascontiguousarray(speech))[None]).cpu().numpy()
        if found.size != EMBEDDING_SIZE:
            raise InputError(f"{self._source} gives {found.size} numbers a voice, and sca stores {EMBEDDING_SIZE}")
        vector: NDArray[np.float32] = found.reshape(EMBEDDING_SIZE).astype(np.float32)
        return vector


def _encoder_class() -> Any:
    try:
        from speechbrain.inference.speaker import EncoderClassifier
    except (ImportError, OSError) as error:  # OSError: a torchaudio built for CUDA beside a torch for the CPU
        raise MissingToolError(
            f"the speaker model ecapa needs speechbrain, and that does not start ({first_line(error)})",
            hint="pip install 'sca[speaker]', with a torchaudio of the same build as torch; or give an .onnx model",
        ) from error
    return EncoderClassifier
