"""From settings to a loaded Qwen3-Omni and its tokenizer, or one clear line about what is missing."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sca.config import QwenConfig
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.tokenizer import TextTokenizer, load_tokenizer

__all__ = ["load_model"]

_INSTALL = "install the extra live: uv sync --inexact --extra live, or pip install 'sca[live]'"
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"


def load_model(qwen: QwenConfig) -> tuple[Any, TextTokenizer]:
    """The model in evaluation mode, and its tokenizer.

    Raises `MissingToolError` (the extra live is not installed), `InputError` (a folder lacks a file, or holds another model),
    `UpstreamError` (the hub does not give it) and `ConfigError` (a device or attention kernel that this machine does not have).
    """
    _check_installed()
    folder = Path(qwen.model_id).expanduser()
    local = folder.is_dir()
    if local:
        _check_folder(folder)
    # First: it is small, and says in seconds when the hub cannot be reached.
    tokenizer = load_tokenizer(qwen.model_id, revision=qwen.revision)
    where = str(folder) if local else qwen.model_id
    return _model(where, qwen, local=local), tokenizer


def _check_installed() -> None:
    for name in ("torch", "transformers", "accelerate"):
        try:
            found = find_spec(name)
        except ValueError:  # its entry among the loaded modules is None
            found = None
        if found is None:
            raise MissingToolError(f"the engine qwen-omni needs {name}, which is not installed", hint=_INSTALL)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no model: it has no config.json", hint="give the folder of a Qwen3-Omni model"
        )
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if kind != "qwen3_omni_moe":
        raise InputError(f"{folder} holds a model of the kind {kind}, not qwen3_omni_moe")
    index = folder / _INDEX
    if index.is_file():
        try:
            needed = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{index} cannot be read: {error!r}") from error
    else:
        needed = [_WEIGHTS]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} has no weights: {', '.join(missing)} missing", hint="copy or download it again")


def _model(where: str, qwen: QwenConfig, *, local: bool) -> Any:
    import torch
    from transformers import Qwen3OmniMoeForConditionalGeneration

    if qwen.device_map.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"qwen.device_map is {qwen.device_map}, and there is no NVIDIA GPU", hint="set it to auto, or to cpu (slow)"
        )
    try:
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(
            where,
            revision=None if local else qwen.revision,
            dtype=qwen.torch_dtype,
            device_map=qwen.device_map,
            attn_implementation=qwen.attn_implementation,
            local_files_only=local,
        )
    except ImportError as error:
        raise MissingToolError(f"qwen.attn_implementation {qwen.attn_implementation}: {_line(error)}") from error
    except OSError as error:
        if local:
            raise InputError(f"the model in {where} cannot be loaded: {_line(error)}") from error
        raise UpstreamError(f"cannot get the model {where}: {_line(error)}") from error
    except (
        Exception
    ) as error:  # a damaged file makes safetensors, torch and transformers raise what has no common class
        raise InputError(f"the model {where} cannot be loaded: {_line(error)}") from error
    if not model.has_talker:
        raise InputError(f"the model {where} has no talker (enable_audio_output is false)")
    return model.eval()


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
