"""From settings to a loaded Qwen3-Omni and its tokenizer, or one clear line about what is missing."""

import json
from pathlib import Path
from typing import Any

from sca.config import QwenConfig
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.infer.engines.qwen_omni.loading.adapter import check_adapter, merge
from sca.infer.engines.qwen_omni.loading.requirements import check_installed, check_memory, check_placement
from sca.textutil import first_line
from sca.tokenizer import TextTokenizer, load_tokenizer
from sca.units import Grid

__all__ = ["load_model"]

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"


def load_model(qwen: QwenConfig, grid: Grid | None = None, text_tokens: int = 2) -> tuple[Any, TextTokenizer]:
    """The model in evaluation mode, the adapter merged, and its tokenizer. What can be refused is refused before weights are read.

    grid, text_tokens: of a chunk; they only tell how slow it is without a GPU.

    Raises `MissingToolError` (the extra live is not installed), `InputError` (a folder lacks a file, or holds another model),
    `UpstreamError` (the hub does not give it) and `ConfigError` (a device, attention kernel or memory that is not there).
    """
    check_installed("torch", "transformers", "accelerate")
    check_placement(qwen.device_map)
    adapter = None if qwen.adapter is None else Path(qwen.adapter).expanduser()
    if adapter is not None:
        check_adapter(adapter)
    folder = Path(qwen.model_id).expanduser()
    local = folder.is_dir()
    if local:
        _check_folder(folder)
    # First: it is small, and says in seconds when the hub cannot be reached.
    tokenizer = load_tokenizer(qwen.model_id, revision=qwen.model_revision)
    where = str(folder) if local else qwen.model_id
    config = _loaded("Qwen3OmniMoeConfig", where, qwen, local=local)
    if not config.enable_audio_output:
        raise InputError(f"the model {where} has no talker (enable_audio_output is false)")
    check_memory(config, qwen, Grid() if grid is None else grid, text_tokens)
    model = _loaded(
        "Qwen3OmniMoeForConditionalGeneration",
        where,
        qwen,
        local=local,
        dtype=qwen.torch_dtype,
        device_map=qwen.device_map,
        attn_implementation=qwen.attn_implementation,
    ).eval()
    if adapter is not None:
        merge(model, adapter)
    return model, tokenizer


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


def _loaded(kind: str, where: str, qwen: QwenConfig, *, local: bool, **more: Any) -> Any:
    """What a class of transformers makes of the folder or hub id."""
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(
            where, revision=None if local else qwen.model_revision, local_files_only=local, **more
        )
    except ImportError as error:
        raise MissingToolError(f"qwen.attn_implementation {qwen.attn_implementation}: {first_line(error)}") from error
    except OSError as error:
        if local:
            raise InputError(f"the model in {where} cannot be loaded: {first_line(error)}") from error
        raise UpstreamError(f"cannot get the model {where}: {first_line(error)}") from error
    # A damaged file makes safetensors, torch and transformers raise what has no common class.
    except Exception as error:
        if "attn_implementation" in str(error):
            raise ConfigError(f"qwen.attn_implementation {qwen.attn_implementation}: {first_line(error)}") from error
        raise InputError(f"the model {where} cannot be loaded: {first_line(error)}") from error
