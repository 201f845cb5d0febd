"""Which model a name stands for: an .onnx file, a folder, or a hub id; and what is wrong when there is none."""

import json
import re
from pathlib import Path

from sca.data.reactions.tagger import TaggerDetector
from sca.errors import InputError, MissingToolError, UpstreamError, UsageError

__all__ = ["load_model"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_AST = "audio-spectrogram-transformer"
_HINT = "give none, energy, an .onnx file, a folder with a model, or a hub id such as owner/name"
_WANTED = ("*.onnx", "*.json", "*.csv", "labels.txt", "model.safetensors")


def load_model(name: str) -> TaggerDetector:
    """See `sca.data.reactions.registry.load_detector`."""
    path = Path(name).expanduser()
    if not path.exists():
        if name.startswith(("/", ".", "~")) or name.endswith(".onnx"):
            raise MissingToolError(f"there is no tagger at {path}", hint=_HINT)
        if not _HUB_ID.fullmatch(name):
            raise UsageError(f"no detector of reactions is called {name!r}", hint=_HINT)
        path = _download(name)
    if path.is_file():
        if path.suffix != ".onnx":
            raise InputError(f"a tagger is an .onnx file or a folder, got {path}", hint=_HINT)
        return _onnx(name, path)
    files = sorted(path.glob("*.onnx"), key=lambda file: (file.name != "model.onnx", file.name))
    if files:
        return _onnx(name, files[0])
    kind = _model_type(path / "config.json")
    if kind == _AST:
        from sca.data.reactions.ast import AstTagger

        return TaggerDetector(name, AstTagger(path))
    if kind is None:
        raise MissingToolError(f"no tagger in {path}: neither an .onnx file nor a config.json", hint=_HINT)
    raise InputError(f"{path} holds a model of type {kind!r}, not {_AST}", hint=_HINT)


def _onnx(name: str, path: Path) -> TaggerDetector:
    from sca.data.reactions.onnx import OnnxTagger

    return TaggerDetector(name, OnnxTagger(path))


def _model_type(config: Path) -> str | None:
    if not config.is_file():
        return None
    try:
        plain = json.loads(config.read_text(encoding="utf-8"))
        return str(plain.get("model_type"))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{config} is no model's config ({error})") from error


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_WANTED)))
    except HFValidationError as error:
        raise UsageError(f"{hub_id!r} is neither a path nor a hub id", hint=_HINT) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UpstreamError(
            f"the hub does not give {hub_id} ({type(error).__name__})", hint="download it once and give its folder"
        ) from error
