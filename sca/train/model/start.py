"""Begin a training with an adapter that `sca train` saved."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.errors import InputError
from sca.infer.engines.qwen_omni.loading.adapter import check_adapter
from sca.textutil import first_line

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["continue_adapter"]

_LISTED = 3


def continue_adapter(thinker: Module, folder: Path) -> tuple[Module, tuple[str, ...]]:
    """Add an adapter to a thinker, to be trained further.

    Args:
        thinker: The thinker.
        folder: The folder of the adapter.

    Returns:
        The peft model, and the full names of the modules and parameters that the adapter changes.

    Raises:
        InputError: The folder does not contain an adapter that `sca train` saved, or it is for another model.
    """
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from peft.utils import load_peft_weights

    check_adapter(folder)
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
        weights = load_peft_weights(str(folder), device="cpu")
        names = _targets(thinker, folder, config)
        config.inference_mode = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft only warns about weights without a place; they are checked here
            learner: Any = thinker
            adapted: Module = get_peft_model(learner, config)
            _check_shapes(folder, weights, get_peft_model_state_dict(adapted, save_embedding_layers=False))
            set_peft_model_state_dict(adapted, weights)
    except InputError:
        raise
    except Exception as error:  # the exceptions of peft, torch and safetensors have no common base class
        raise InputError(
            f"train.adapter: the adapter in {folder} does not fit this model: {first_line(error)}"
        ) from error
    return adapted, names


def _check_shapes(folder: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    others = [
        name
        for name in sorted(found.keys() | expected.keys())
        if name not in found or name not in expected or found[name].shape != expected[name].shape
    ]
    if others:
        raise InputError(
            f"train.adapter: the adapter in {folder} does not fit this model: {len(others)} of its weights have another shape "
            f"or no place, such as {others[0]}",
            hint="give an adapter that sca train saved for this model",
        )


def _targets(thinker: Module, folder: Path, config: Any) -> tuple[str, ...]:
    """Return what an adapter changes, by full names, which those of other trainers are not."""
    modules = config.target_modules if isinstance(config.target_modules, set | list) else [str(config.target_modules)]
    wanted = [*sorted(modules), *(config.target_parameters or ()), *(config.trainable_token_indices or ())]
    known = {name for name, _ in thinker.named_modules()} | {name for name, _ in thinker.named_parameters()}
    others = [name for name in wanted if name not in known]
    if others or not wanted:
        raise InputError(
            f"train.adapter: the adapter in {folder} changes modules that the thinker does not have by these names: "
            f"{', '.join(others[:_LISTED])}{', …' if len(others) > _LISTED else ''}",
            hint="give an adapter that sca train saved for this model",
        )
    return tuple(wanted)
