"""Merge a LoRA adapter into the weights, so that it costs nothing per step."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sca.errors import InputError
from sca.infer.engines.qwen_omni.loading.requirements import check_installed
from sca.textutil import first_line

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["check_adapter", "merge"]

log = logging.getLogger(__name__)

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


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

    Args:
        model: The model, which is changed.
        folder: The folder of the adapter.

    Raises:
        InputError: The adapter does not fit the model: other shapes, other layers, or unused weights.
    """
    from peft import PeftConfig, PeftModel
    from peft.utils import load_peft_weights

    try:
        names = list(load_peft_weights(str(folder), device="cpu"))
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        whole = any(name.removeprefix("base_model.model.").startswith(("thinker.", "talker.")) for name in names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft only warns about unused weights; they are checked below
            adapted = PeftModel(model if whole else model.thinker, config)
            loaded = adapted.load_adapter(str(folder), "default")
        unplaced = [*loaded.unexpected_keys, *loaded.missing_keys]
        if unplaced:
            raise InputError(
                f"the adapter in {folder} is for another model: {len(unplaced)} of its weights do not exist in it, "
                f"such as {unplaced[0]}"
            )
        adapted.merge_and_unload(safe_merge=True)
    except InputError:
        raise
    except Exception as error:  # the exceptions of peft, torch and safetensors have no common base class
        raise InputError(f"the adapter in {folder} cannot be used: {first_line(error)}") from error
    log.info("merged the adapter in %s, %d weights", folder, len(names))
