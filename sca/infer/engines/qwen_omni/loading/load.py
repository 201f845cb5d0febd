"""Load Qwen3-Omni and its tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.config import QwenConfig
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.infer.engines.qwen_omni.loading.adapter import check_adapter, merge
from sca.infer.engines.qwen_omni.loading.memory import place
from sca.infer.engines.qwen_omni.loading.model_class import speaking_model
from sca.infer.engines.qwen_omni.loading.placement import LAYERED, check_placement, remove_hooks
from sca.infer.engines.qwen_omni.loading.quantised import quantisation_of
from sca.infer.engines.qwen_omni.loading.requirements import check_installed
from sca.infer.engines.qwen_omni.loading.self_check import check_audio_tower
from sca.models.quiet import quiet_loading
from sca.textutil import first_line
from sca.tokenizer import TextTokenizer, load_tokenizer
from sca.units import Grid

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["LoadedModel", "check_folder", "from_pretrained", "load_model"]

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its devices.

    Attributes:
        model: The model in evaluation mode, with the adapter merged.
        tokenizer: Its tokenizer.
        slots: Number of slots that it has space for; 0 for sessions that are stepped alone.
    """

    model: Module
    tokenizer: TextTokenizer
    slots: int


def load_model(qwen: QwenConfig, grid: Grid | None = None, text_tokens: int = 2, sessions: int = 1) -> LoadedModel:
    """Load the model and its tokenizer. All checks that do not need the weights run before the weights are read.

    Args:
        qwen: The settings of the model.
        grid: The grid; used only to estimate the speed without a GPU.
        text_tokens: Text tokens per chunk; used only for the same estimate.
        sessions: Most sessions at a time; see `place`.

    Raises:
        MissingToolError: The extra live is not installed.
        InputError: A folder lacks a file, or contains another kind of model, or its weights do not fit its configuration.
        UpstreamError: The hub does not provide the model.
        ConfigError: A device, an attention kernel or memory is missing.
    """
    check_installed("torch", "transformers", "accelerate")
    import torch
    from transformers import Qwen3OmniMoeConfig

    check_placement(qwen.device_map)
    adapter = None if qwen.adapter is None else Path(qwen.adapter).expanduser()
    if adapter is not None:
        check_adapter(adapter)
    folder = Path(qwen.model_id).expanduser()
    local = folder.is_dir()
    if local:
        check_folder(folder)
    # First, because it is small: an unreachable hub is reported within seconds.
    tokenizer = load_tokenizer(qwen.model_id, revision=qwen.model_revision)
    where = str(folder) if local else qwen.model_id
    config = from_pretrained(Qwen3OmniMoeConfig, qwen)
    if not config.enable_audio_output:
        raise InputError(f"the model {where} does not have a talker (enable_audio_output is false)")
    placed = place(config, qwen, Grid() if grid is None else grid, text_tokens, sessions)
    model = from_pretrained(
        speaking_model(),
        qwen,
        method=quantisation_of(config),
        dtype=qwen.torch_dtype,
        device_map=placed.device_map,
        attn_implementation=qwen.attn_implementation,
    ).eval()
    if qwen.device_map not in LAYERED:
        remove_hooks(model)
    model.code2wav.to(getattr(torch, qwen.vocoder_dtype))
    if adapter is not None:
        merge(model, adapter)
    try:
        check_audio_tower(model, qwen.attn_implementation)
    except (
        RuntimeError
    ) as error:  # weights of several number formats, as in a checkpoint that its config does not describe
        method = quantisation_of(config)
        stored = "" if method is None else f" (quantised with {method})"
        raise InputError(f"the weights of {where} do not fit its config.json{stored}: {first_line(error)}") from error
    return LoadedModel(model, tokenizer, placed.slots)


def check_folder(folder: Path) -> None:
    """Check that a folder has a Qwen3-Omni model with all its weights.

    Args:
        folder: The folder.

    Raises:
        InputError: A file is missing or cannot be read, or the folder contains another kind of model.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} does not contain a model: config.json is missing", hint="give the folder of a Qwen3-Omni model"
        )
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if kind != "qwen3_omni_moe":
        raise InputError(f"{folder} contains a model of type {kind}, not qwen3_omni_moe")
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
        raise InputError(f"{folder} lacks weights: {', '.join(missing)} missing", hint="copy or download it again")


def from_pretrained(kind: Any, qwen: QwenConfig, *, method: str | None = None, **more: Any) -> Any:
    """Call `from_pretrained` of a class of transformers, and map its exceptions.

    Args:
        kind: The class.
        qwen: The settings of the model: a folder or hub id.
        method: The method of quantised weights; None for others.
        **more: Further arguments of the class.

    Returns:
        What the class returns.

    Raises:
        MissingToolError: A package is not installed that the weights or the attention kernel need.
        InputError: The files of a folder cannot be loaded.
        UpstreamError: The hub does not provide the model.
        ConfigError: The attention kernel does not exist.
    """
    folder = Path(qwen.model_id).expanduser()
    local = folder.is_dir()
    where = str(folder) if local else qwen.model_id
    try:
        with quiet_loading():
            return kind.from_pretrained(
                where,
                revision=None if local else qwen.model_revision,
                local_files_only=local,
                trust_remote_code=False,
                **more,
            )
    except ImportError as error:
        if method is not None and "flash" not in str(error).lower():
            raise MissingToolError(
                f"the weights of {where} are quantised with {method}: {first_line(error)}"
            ) from error
        raise MissingToolError(f"qwen.attn_implementation {qwen.attn_implementation}: {first_line(error)}") from error
    except OSError as error:
        if local:
            raise InputError(f"the model in {where} cannot be loaded: {first_line(error)}") from error
        raise UpstreamError(f"cannot get the model {where}: {first_line(error)}") from error
    # The exceptions of safetensors, torch and transformers for damaged files have no common base class.
    except Exception as error:
        if "attn_implementation" in str(error):
            raise ConfigError(f"qwen.attn_implementation {qwen.attn_implementation}: {first_line(error)}") from error
        quantised = "" if method is None else f", which is quantised with {method},"
        raise InputError(f"the model {where}{quantised} cannot be loaded: {first_line(error)}") from error
