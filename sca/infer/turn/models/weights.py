"""Finds the weights of a turn model: a file, a directory, a hub id, or the v3 file inside the installed pipecat-ai.

pipecat is not imported for that, because it prints a banner and loads many packages.
"""

import hashlib
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from sca.errors import InputError, MissingToolError, UpstreamError

__all__ = ["BUNDLED_BYTES", "BUNDLED_SHA256", "Weights", "bundled_file", "find_weights"]

logger = logging.getLogger(__name__)

BUNDLED_SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
"""Of smart-turn-v3.2-cpu.onnx (int8) in pipecat-ai 1.14.0."""

BUNDLED_BYTES = 8_679_182

_BUNDLED = "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
_INSTALL = "pip install 'sca[pipecat]' installs one, or name one with --model (an .onnx file, a directory, a hub id)"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a model.

    Attributes:
        version: The version of smart-turn.
        path: The .onnx file of v3, or the directory of v2.
        name: The name, for display.
        known: Whether the checksum is that of the v3 file that sca was tested with.
    """

    version: Literal["v2", "v3"]
    path: Path
    name: str
    known: bool = False


def bundled_file() -> Path:
    """Return the v3 file inside the installed pipecat-ai.

    Raises:
        MissingToolError: pipecat-ai is not installed, or does not contain the file.
    """
    spec = find_spec("pipecat")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError(
            "no turn model was named, and pipecat-ai, which contains one, is not installed", hint=_INSTALL
        )
    path = Path(folders[0]) / _BUNDLED
    if not path.is_file():
        raise MissingToolError(f"the installed pipecat-ai does not contain {path.name}", hint=_INSTALL)
    return path


def find_weights(model_id: str | None, revision: str | None = None) -> Weights:
    """Find the weights of a model. For a v3 file other than the tested one, a warning is logged.

    Args:
        model_id: A file, a directory or a hub id; None for the file inside pipecat-ai.
        revision: The revision on the hub.

    Returns:
        The weights.

    Raises:
        MissingToolError: `model_id` is None, and pipecat-ai is not installed.
        InputError: The path does not exist or does not contain a model.
        UpstreamError: The model cannot be downloaded.
    """
    if model_id is None:
        return _v3(bundled_file(), "smart-turn-v3.2 (pipecat-ai)")
    path = Path(model_id).expanduser()
    if not path.exists():
        if _is_path(model_id):
            raise InputError(f"the turn model {path} does not exist", hint=_INSTALL)
        path = _download(model_id, revision)
    if path.is_file():
        if path.suffix != ".onnx":
            raise InputError(f"a turn model is an .onnx file or a directory, got {path}", hint=_INSTALL)
        return _v3(path, model_id)
    found = sorted(path.glob("*.onnx"), key=lambda file: ("cpu" not in file.name, file.name))
    if found:
        return _v3(found[0], model_id)
    if (path / "config.json").is_file():
        return Weights("v2", path, model_id)
    raise InputError(f"no turn model in {path}: neither an .onnx file nor a config.json", hint=_INSTALL)


def _is_path(model_id: str) -> bool:
    return model_id.startswith(("/", "./", "../", "~")) or model_id.endswith(".onnx") or model_id.count("/") != 1


def _v3(path: Path, name: str) -> Weights:
    content = path.read_bytes()
    known = len(content) == BUNDLED_BYTES and hashlib.sha256(content).hexdigest() == BUNDLED_SHA256
    if not known:
        logger.warning("%s is not the smart-turn v3.2 that sca was tested with (sha256 differs)", path)
    return Weights("v3", path, name, known)


def _download(model_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            model_id, revision=revision, allow_patterns=["*.onnx", "config.json", "model.safetensors", "*config.json"]
        )
    except HFValidationError as error:
        raise InputError(f"{model_id!r} is neither a path nor a hub id", hint=_INSTALL) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UpstreamError(f"cannot download {model_id}", hint=f"{type(error).__name__}; {_INSTALL}") from error
    return Path(folder)
