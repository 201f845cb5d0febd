"""Merge a LoRA adapter into the weights, so that it costs nothing per step."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.errors import InputError
from sca.infer.engines.qwen_omni.loading.adapter_weights import AdapterWeights, sort_weights, target_parameters
from sca.infer.engines.qwen_omni.loading.requirements import check_installed
from sca.textutil import counted, first_line

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["check_adapter", "merge"]

log = logging.getLogger(__name__)

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_LISTED = 5
"""Maximum number of weights that a message names."""


def check_adapter(folder: Path) -> None:
    """Check the folder of an adapter before the model is loaded.

    Args:
        folder: The folder that peft saved.

    Raises:
        InputError: The folder does not contain a LoRA adapter.
        MissingToolError: peft is not installed.
    """
    if not (folder / _CONFIG).is_file():
        raise InputError(
            f"{folder} does not contain an adapter: {_CONFIG} is missing",
            hint="set qwen.adapter to the folder that peft saved",
        )
    try:
        kind = json.loads((folder / _CONFIG).read_text(encoding="utf-8")).get("peft_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / _CONFIG} cannot be read: {error}") from error
    if kind != "LORA":
        raise InputError(f"{folder} contains an adapter of type {kind}; only LORA can be merged")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise InputError(f"{folder} lacks weights: {_WEIGHTS[0]} missing", hint="copy it again")
    check_installed("peft")


def merge(model: Module, folder: Path) -> None:
    """Add an adapter to the weights of a model. It can be trained on the whole model or on its thinker.

    Names of transformers 4 are converted (`adapter_weights`). peft gets the full names of the modules that have weights,
    because it makes leaf names of a regular expression, and of names that it converts itself.

    Args:
        model: The model, which is changed.
        folder: The folder of the adapter.

    Raises:
        InputError: The adapter does not fit the model: other shapes, other layers, or weights without a place.
    """
    import torch
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    try:
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_peft_weights(str(folder), device="cpu")
        found = sort_weights(model, config, weights)
        _check_placed(folder, found.unplaced)
        with torch.no_grad():
            for name, weight in found.replaced.items():
                model.get_parameter(name).copy_(weight)
            for pair in found.experts:
                pair.add(model.get_parameter(pair.parameter))
        if found.peft:
            _merge_with_peft(model, folder, config, found)
    except InputError:
        raise
    except Exception as error:  # the exceptions of peft, torch and safetensors have no common base class
        raise InputError(f"the adapter in {folder} cannot be used: {first_line(error)}") from error
    log.info("merged the adapter in %s, %d weights", folder, len(weights))
    for module, names in found.left_out.items():
        log.warning(
            "the adapter in %s also has %s for %s, a module of its trainer that this model does not have: they are left out",
            folder,
            counted(len(names), "weight"),
            module,
        )
    if found.replaced:
        log.warning(
            "the adapter in %s replaces %s, such as %s",
            folder,
            counted(len(found.replaced), "weight"),
            next(iter(found.replaced)),
        )


def _merge_with_peft(model: Module, folder: Path, config: Any, found: AdapterWeights) -> None:
    import torch
    from peft import PeftModel, set_peft_model_state_dict

    config.inference_mode, config.lora_dropout, config.bias = True, 0.0, "none"
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = config.modules_to_save = None
    config.rank_pattern = found.ranks | (config.rank_pattern or {})
    config.alpha_pattern = found.alphas | (config.alpha_pattern or {})
    config.target_parameters = list(target_parameters(model, config, found.modules)) or None
    holders = {name.rpartition(".")[0] for name in config.target_parameters or ()}
    rows = {
        one for one in found.modules if f"base_model.model.{one}.token_adapter.trainable_tokens_delta" in found.peft
    }
    config.target_modules = {one for one in found.modules - rows if one.removesuffix(".base_layer") not in holders}
    config.trainable_token_indices = _token_rows(config.trainable_token_indices, rows)
    # peft converts names of a model with a configuration by itself, and then by leaf name only.
    parts = torch.nn.Module()
    for name, part in model.named_children():
        parts.add_module(name, part)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft only warns about unused weights; they are checked below
        adapted = PeftModel(parts, config)
        loaded: Any = set_peft_model_state_dict(adapted, found.peft)
    _check_placed(folder, [*loaded.unexpected_keys, *(name for name in loaded.missing_keys if ".lora_" in name)])
    adapted.merge_and_unload(safe_merge=True)


def _token_rows(indices: Any, modules: set[str]) -> dict[str, list[int]] | None:
    """Return the trained rows of embeddings by full module names; the setting of peft has leaf names or none."""
    if not modules:
        return None
    if not isinstance(indices, dict):
        return dict.fromkeys(sorted(modules), indices)
    return {
        module: rows
        for module in sorted(modules)
        for leaf, rows in indices.items()
        if f".{module}".endswith(f".{leaf}")
    }


def _check_placed(folder: Path, unplaced: Sequence[str]) -> None:
    if unplaced:
        more = f" and {len(unplaced) - _LISTED} more" if len(unplaced) > _LISTED else ""
        raise InputError(
            f"the adapter in {folder} is for another model: {len(unplaced)} of its weights do not exist in it: "
            f"{', '.join(unplaced[:_LISTED])}{more}"
        )
