"""Loads a reaction detector by name: a built-in one, or a tagger from a file, a folder or the Hugging Face hub."""

import json
import re
from pathlib import Path

from sca.data.reactions.base import Detector, Tagger
from sca.data.reactions.tagger import TaggerDetector
from sca.errors import InputError, MissingToolError, UpstreamError, UsageError
from sca.models import resolve

__all__ = ["load_detector"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_AST = "audio-spectrogram-transformer"
_HINT = "give none, energy, an .onnx file, a folder with a model, a name that sca models lists, or a hub id such as owner/name"
_DOWNLOADED_FILES = ("*.onnx", "*.json", "*.csv", "labels.txt", "model.safetensors")


def load_detector(name: str) -> Detector | None:
    """Load the reaction detector with a given name.

    Args:
        name: `none`; `energy` for loud bursts outside speech, which needs no model (`sca.data.reactions.energy`); or an
            AudioSet tagger: an .onnx file, a folder with an .onnx file or an AST model, a model of `sca.models`, or a
            hub id.

    Returns:
        The detector, or None for `none`.

    Raises:
        UsageError: The name is not a detector, an existing path or a hub id.
        MissingToolError: The model, its class names or the library that runs it is missing.
        InputError: The file is not a tagger.
        UpstreamError: The model cannot be downloaded from the hub.
    """
    if name == "none":
        return None
    if name == "energy":
        from sca.data.reactions.energy import EnergyDetector

        return EnergyDetector()
    return _load_tagger(name.removeprefix("pkg:"), _find_model(name))


def _find_model(name: str) -> Path:
    path = resolve(name) or Path(name).expanduser()
    if path.exists():
        return path
    if name.startswith(("/", ".", "~")) or name.endswith(".onnx"):
        raise MissingToolError(f"the tagger {path} does not exist", hint=_HINT)
    if not _HUB_ID.fullmatch(name):
        raise UsageError(f"{name!r} is not a reaction detector", hint=_HINT)
    return _download(name)


def _load_tagger(name: str, path: Path) -> TaggerDetector:
    if path.is_file():
        if path.suffix != ".onnx":
            raise InputError(f"a tagger is an .onnx file or a folder, got {path}", hint=_HINT)
        return TaggerDetector(name, _load_onnx(path))
    files = sorted(path.glob("*.onnx"), key=lambda file: (file.name != "model.onnx", file.name))
    if files:
        return TaggerDetector(name, _load_onnx(files[0]))
    model_type = _model_type(path / "config.json")
    if model_type == _AST:
        from sca.data.reactions.ast import AstTagger

        return TaggerDetector(name, AstTagger(path))
    if model_type is None:
        raise MissingToolError(f"no tagger in {path}: neither an .onnx file nor a config.json", hint=_HINT)
    raise InputError(f"{path} contains a model of type {model_type!r}, not {_AST}", hint=_HINT)


def _load_onnx(path: Path) -> Tagger:
    from sca.data.reactions.onnx import OnnxTagger
    from sca.data.reactions.yamnet import YamnetTagger, is_yamnet

    return YamnetTagger(path) if is_yamnet(path) else OnnxTagger(path)


def _model_type(config: Path) -> str | None:
    if not config.is_file():
        return None
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
        return str(document.get("model_type"))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{config} is not the configuration of a model ({error})") from error


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_DOWNLOADED_FILES)))
    except HFValidationError as error:
        raise UsageError(f"{hub_id!r} is neither a path nor a hub id", hint=_HINT) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UpstreamError(
            f"{hub_id} cannot be downloaded from the hub ({type(error).__name__})",
            hint="download it once and give its folder",
        ) from error
