"""A LoRA adapter becomes part of the weights: nothing of it is left to compute per step."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

from sca.errors import InputError
from sca.infer.engines.qwen_omni.loading.requirements import check_installed
from sca.textutil import first_line

__all__ = ["check_adapter", "merge"]

log = logging.getLogger(__name__)

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def check_adapter(folder: Path) -> None:
    """Raise `InputError` when a folder holds no adapter, before a model is loaded for it; `MissingToolError` without peft."""
    if not (folder / _CONFIG).is_file():
        raise InputError(
            f"{folder} holds no adapter: it has no {_CONFIG}", hint="qwen.adapter is the folder that peft saved"
        )
    try:
        kind = json.loads((folder / _CONFIG).read_text(encoding="utf-8")).get("peft_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / _CONFIG} cannot be read: {error}") from error
    if kind != "LORA":
        raise InputError(f"{folder} holds an adapter of the kind {kind}; only LORA can be merged")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise InputError(f"{folder} has no weights: {_WEIGHTS[0]} missing", hint="copy it again")
    check_installed("peft")


def merge(model: Any, folder: Path) -> None:
    """Add the adapter in `folder` to the weights of `model`. It may have been trained on the whole model or on its thinker.

    Raises `InputError` for one that does not fit the model: of other shapes, for other layers, or with weights left over.
    """
    from peft import PeftConfig, PeftModel
    from peft.utils import load_peft_weights

    try:
        names = list(load_peft_weights(str(folder), device="cpu"))
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        whole = any(name.removeprefix("base_model.model.").startswith(("thinker.", "talker.")) for name in names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peft only warns of is checked below
            adapted = PeftModel(model if whole else model.thinker, config)
            loaded = adapted.load_adapter(str(folder), "default")
        unplaced = [*loaded.unexpected_keys, *loaded.missing_keys]
        if unplaced:
            raise InputError(
                f"the adapter in {folder} is for another model: {len(unplaced)} of its weights have no place, such as {unplaced[0]}"
            )
        adapted.merge_and_unload(safe_merge=True)
    except InputError:
        raise
    except Exception as error:  # peft, torch and safetensors raise what has no common class
        raise InputError(f"the adapter in {folder} cannot be used: {first_line(error)}") from error
    log.info("merged the adapter in %s, %d weights", folder, len(names))
