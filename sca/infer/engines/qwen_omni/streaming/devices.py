"""The device on which a module computes: each tensor is created on the device of the module that receives it.

The parts of a model may be on several GPUs. Whole stacks are placed without hooks, so their input has to be moved; a
model that accelerate split layer by layer has hooks, which move the input of every layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

__all__ = ["device_of", "has_whole_stacks"]


def device_of(module: Module) -> torch.device:
    """Return the device on which a module computes.

    Weights that accelerate keeps in main memory are on the meta device between calls; the hook names the device on
    which they are used.

    Args:
        module: A module with parameters.
    """
    import torch

    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    if device is not None:
        return torch.device(device)
    return next(module.parameters()).device


def has_whole_stacks(model: Module) -> bool:
    """Return whether the thinker is on one device, and talker and vocoder too, which may be another one."""
    thinker = {weight.device for weight in model.thinker.parameters()}
    voice = {weight.device for part in (model.talker, model.code2wav) for weight in part.parameters()}
    return len(thinker) == len(voice) == 1
