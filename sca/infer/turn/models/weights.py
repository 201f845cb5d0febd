"""Finds the weights of a turn model: a file, a directory, a hub id, or the v3 file inside the installed pipecat-ai.

pipecat is not imported for that, because it prints a banner and loads many packages.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, UsageError
from sca.infer.turn.models.hub import download
from sca.models import find

__all__ = ["BUNDLED_BYTES", "BUNDLED_SHA256", "Weights", "bundled_file", "find_weights", "newest_file"]

logger = logging.getLogger(__name__)

BUNDLED_SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
"""Of smart-turn-v3.2-cpu.onnx (int8) in pipecat-ai 1.14.0."""

BUNDLED_BYTES = 8_679_182

_BUNDLED = "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a model.

    Attributes:
        version: The version of smart-turn.
        path: The .onnx file of v3, or the directory of v2.
        name: The name, for display.
        known: Whether the checksum is that of the v3 file that sca was tested with.
        sha256: The checksum of the .onnx file; None for a folder of v2.
    """

    version: Literal["v2", "v3"]
    path: Path
    name: str
    known: bool = False
    sha256: str | None = None


def _how_to_get() -> str:
    return f"{install_extra('pipecat')} installs one, or name one with --model (an .onnx file, a directory, a hub id)"


def bundled_file() -> Path:
    """Return the v3 file inside the installed pipecat-ai.

    Raises:
        MissingToolError: pipecat-ai is not installed, or does not contain the file.
    """
    spec = find_spec("pipecat")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError(
            "no turn model was named, and pipecat-ai, which contains one, is not installed", hint=_how_to_get()
        )
    path = Path(folders[0]) / _BUNDLED
    if not path.is_file():
        raise MissingToolError(f"the installed pipecat-ai does not contain {path.name}", hint=_how_to_get())
    return path


def find_weights(model_id: str | None, revision: str | None = None) -> Weights:
    """Find the weights of a model. For a v3 file other than the tested one, a warning is logged.

    Args:
        model_id: A file, a directory, a hub id (`owner/name`) or a file on the hub (`owner/name/file.onnx`); None for the
            file inside pipecat-ai. Of several .onnx files, the newest is taken.
        revision: The revision on the hub.

    Returns:
        The weights.

    Raises:
        MissingToolError: `model_id` is None, and pipecat-ai is not installed.
        InputError: The path does not exist or does not contain a model.
        UsageError: The name is that of another model of the catalogue, or `pkg:NAME` names none.
        UpstreamError: The model cannot be downloaded.
    """
    if model_id is not None and (model := find(model_id)) is not None:
        raise UsageError(f"the model {model.name} is not a turn model", hint=_how_to_get())
    if model_id is None:
        return _v3(bundled_file(), "smart-turn-v3.2 (pipecat-ai)")
    path = Path(model_id).expanduser()
    if not path.exists():
        if _is_path(model_id):
            raise InputError(f"the turn model {path} does not exist", hint=_how_to_get())
        path = download(model_id, revision, newest_file)
        if path.suffix == ".onnx":
            return _v3(path, "/".join([*model_id.split("/")[:2], path.name]))
    if path.is_file():
        if path.suffix != ".onnx":
            raise InputError(f"a turn model is an .onnx file or a directory, got {path}", hint=_how_to_get())
        return _v3(path, model_id)
    newest = newest_file([file.name for file in path.glob("*.onnx")])
    if newest is not None:
        return _v3(path / newest, f"{model_id.rstrip('/')}/{newest}")
    if (path / "config.json").is_file():
        return Weights("v2", path, model_id)
    raise InputError(f"no turn model in {path}: neither an .onnx file nor a config.json", hint=_how_to_get())


def _is_path(model_id: str) -> bool:
    return model_id.startswith(("/", "./", "../", "~")) or (
        model_id.count("/") != 1 if not model_id.endswith(".onnx") else model_id.count("/") < 2
    )


def newest_file(names: Iterable[str]) -> str | None:
    """Return the .onnx file with the highest version in its name, and for a CPU among equal ones; None without a file.

    Args:
        names: The names, such as `smart-turn-v3.2-cpu.onnx`.
    """

    def order(name: str) -> tuple[list[int], int, str]:
        version = re.search(r"v(\d+(?:\.\d+)*)", name.lower())
        device = 2 if "cpu" in name.lower() else 0 if "gpu" in name.lower() else 1
        return [int(part) for part in version[1].split(".")] if version else [], device, name

    return max((name for name in names if name.endswith(".onnx")), key=order, default=None)


def _v3(path: Path, name: str) -> Weights:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    known = sha256 == BUNDLED_SHA256
    if not known:
        logger.warning("%s is not the smart-turn v3.2 that sca was tested with (sha256 differs)", path)
    return Weights("v3", path, name, known, sha256)
