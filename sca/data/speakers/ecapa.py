"""ECAPA-TDNN, run by speechbrain, from the Hugging Face hub or from a folder in speechbrain's layout.

speechbrain itself loads a model by its `hyperparams.yaml`, which can name any function to call. Here that file is not
read: the network is speechbrain's class with the shapes of the weights, and the weights are loaded as tensors only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.speakers.base import EMBEDDING_SIZE, SpeakerModel
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, UpstreamError
from sca.models.pinned import revision_of
from sca.textutil import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["HUB_ID", "EcapaModel"]

HUB_ID = "speechbrain/spkrec-ecapa-voxceleb"
"""The model of `ecapa` without a source, trained on VoxCeleb."""

_WEIGHTS = "embedding_model.ckpt"
_COPY_HINT = f"copy {_WEIGHTS} of {HUB_ID} there"
_DILATIONS = (1, 2, 3, 4, 1)  # of the five blocks; the shapes of the weights do not tell them


class EcapaModel(SpeakerModel):
    """ECAPA-TDNN on the CPU (Desplanques et al. 2020, arXiv:2005.07143).

    Args:
        source: A folder or hub id; `HUB_ID` by default.
        cache_dir: Where downloads are stored; the cache of huggingface_hub if None.

    Raises:
        MissingToolError: torch or speechbrain is missing or cannot be imported, or the folder holds no model.
        UpstreamError: The model cannot be downloaded from the hub.
        InputError: The weights cannot be loaded, or are those of another network.
    """

    def __init__(self, source: str | None = None, cache_dir: Path | None = None) -> None:
        self._source = source or HUB_ID
        folder = Path(self._source).expanduser()
        if source is not None and (folder.is_dir() or source.startswith((".", "/", "~"))):
            file = folder / _WEIGHTS
            if not file.is_file():
                raise MissingToolError(
                    f"{folder} does not contain a speechbrain model: {_WEIGHTS} is missing", hint=_COPY_HINT
                )
        else:
            file = _download(self._source, cache_dir)
        self._network = _network(file, _read_weights(file))

    @override
    def embed_speech(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            output = self._network(torch.from_numpy(np.ascontiguousarray(speech))[None]).numpy()
        if output.size != EMBEDDING_SIZE:
            raise InputError(f"{self._source} returns {output.size} numbers per voice, and sca stores {EMBEDDING_SIZE}")
        vector: NDArray[np.float32] = output.reshape(EMBEDDING_SIZE).astype(np.float32)
        return vector


@dataclass(frozen=True, slots=True)
class _Network:
    """Waveforms of shape (1, samples), float32 at 16 kHz, to embeddings of shape (1, 1, size)."""

    features: "Callable[[Tensor], Tensor]"
    normalize: "Callable[[Tensor, Tensor], Tensor]"
    network: "Callable[[Tensor, Tensor], Tensor]"

    def __call__(self, wave: "Tensor") -> "Tensor":
        import torch

        whole = torch.ones(len(wave))  # the used share of each waveform
        return self.network(self.normalize(self.features(wave), whole), whole)


def _download(hub_id: str, cache_dir: Path | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(
            hf_hub_download(
                hub_id,
                _WEIGHTS,
                revision=revision_of(hub_id, file=_WEIGHTS, cache_dir=cache_dir),
                cache_dir=cache_dir,
            )
        )
    except Exception as error:  # the hub client raises exceptions of several libraries
        raise UpstreamError(
            f"cannot download {_WEIGHTS} of {hub_id}: {first_line(error)}",
            hint="download it once and give its folder: ecapa:FOLDER",
        ) from error


def _read_weights(file: Path) -> "dict[str, Tensor]":
    try:
        import torch
    except ImportError as error:
        raise _missing("torch", error) from error
    try:
        # `weights_only`: a pickle of anything but tensors is refused, because it could run code.
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and zipfile raise exceptions of their own
        raise InputError(f"{file} does not hold weights: {first_line(error)}", hint=_COPY_HINT) from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{file} holds other things than weights", hint=_COPY_HINT)
    return weights


def _network(file: Path, weights: "dict[str, Tensor]") -> _Network:
    """Build speechbrain's network in the shapes of its weights, and load them."""
    try:
        from speechbrain.lobes.features import Fbank
        from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
        from speechbrain.processing.features import InputNormalization
    except (ImportError, OSError) as error:  # OSError: a torchaudio built for CUDA next to a torch for the CPU
        raise _missing("speechbrain", error) from error
    try:
        first, inner, last = (
            weights["blocks.0.conv.conv.weight"],
            _inner_blocks(weights),
            weights["mfa.conv.conv.weight"],
        )
        network = ECAPA_TDNN(
            first.shape[1],
            channels=[len(first), *(channels for channels, _ in inner), len(last)],
            kernel_sizes=[first.shape[2], *(kernel for _, kernel in inner), last.shape[2]],
            dilations=list(_DILATIONS),
            attention_channels=len(weights["asp.tdnn.conv.conv.weight"]),
            se_channels=len(weights["blocks.1.se_block.conv1.conv.weight"]),
            lin_neurons=len(weights["fc.conv.weight"]),
        )
        network.load_state_dict(weights)
    except (KeyError, RuntimeError, ValueError, AssertionError) as error:
        message = f"{file} does not hold the weights of an ECAPA-TDNN: {first_line(error)}"
        raise InputError(message, hint=_COPY_HINT) from error
    # As in the hyperparameters of the published model.
    return _Network(
        Fbank(n_mels=first.shape[1]), InputNormalization(norm_type="sentence", std_norm=False), network.eval()
    )


def _inner_blocks(weights: "dict[str, Tensor]") -> list[tuple[int, int]]:
    """Return the channels and the kernel size of the three blocks between the first layer and the aggregation."""
    return [
        (
            len(weights[f"blocks.{block}.tdnn2.conv.conv.weight"]),
            weights[f"blocks.{block}.res2net_block.blocks.0.conv.conv.weight"].shape[2],
        )
        for block in (1, 2, 3)
    ]


def _missing(library: str, error: ImportError | OSError) -> MissingToolError:
    return MissingToolError(
        f"the speaker model ecapa needs {library}, which cannot be imported ({first_line(error)})",
        hint=f"{install_extra('speaker')}, with a torchaudio of the same build as torch; or give an .onnx model",
    )
