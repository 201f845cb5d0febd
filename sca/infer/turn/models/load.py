"""Loads a turn model: v2 in torch, v3 in onnxruntime or torch."""

from typing import TYPE_CHECKING

from sca.infer.turn.models.precision import runs_in_torch
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import Weights

if TYPE_CHECKING:
    from sca.config import TurnConfig
    from sca.infer.turn.models.device_model import DeviceModel

__all__ = ["load_model"]


def load_model(weights: Weights, turn: "TurnConfig") -> "SmartTurnV3 | DeviceModel":
    """Load a model.

    v3 runs in onnxruntime, which needs no torch and is the fastest on a CPU, unless a GPU or 16 bits are wanted.

    Args:
        weights: The weights.
        turn: The settings, with the device and the number format.

    Returns:
        The model.

    Raises:
        MissingToolError: A package is not installed, or the GPU does not exist.
        InputError: The weights cannot be read.
        ConfigError: The model does not exist in the number format.
    """
    if weights.version == "v3":
        if not runs_in_torch(turn.device, turn.dtype):
            return SmartTurnV3(weights.path, dtype=turn.dtype)
        from sca.infer.turn.models.smart_turn_v3_torch import SmartTurnV3Torch

        device = turn.device if turn.device.startswith("cuda") else "cpu"
        return SmartTurnV3Torch.load(weights.path, device=device, dtype=turn.dtype)
    from sca.infer.turn.models.smart_turn_v2 import SmartTurnV2

    return SmartTurnV2.load(weights.path, device=turn.device, dtype=turn.dtype)
