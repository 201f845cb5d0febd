"""smart-turn v3 in torch, for batches on a GPU, with the weights of an .onnx file."""

from pathlib import Path

import numpy as np

from sca.errors import InputError
from sca.infer.turn.models.dequantize import v3_parameters
from sca.infer.turn.models.device_model import DeviceModel, number_format_of, resolve_device
from sca.infer.turn.models.features import V3_SAMPLES
from sca.infer.turn.models.networks import v3_network_class
from sca.infer.turn.models.precision import number_format

__all__ = ["SmartTurnV3Torch"]


class SmartTurnV3Torch(DeviceModel):
    """The model on one device."""

    @classmethod
    def load(cls, path: Path, device: str = "auto", dtype: str = "auto") -> "SmartTurnV3Torch":
        """Load a model.

        Args:
            path: The .onnx file. Its int8 weights are dequantised.
            device: The device; `auto` for a GPU if there is one.
            dtype: The number format; `auto` for float32.

        Returns:
            The model.

        Raises:
            MissingToolError: torch is not installed, or the GPU does not exist.
            ConfigError: The number format is int8.
            InputError: The file does not contain the weights of this network.
        """
        device = resolve_device(device, "smart-turn v3 on a GPU or in 16 bits")
        torch_dtype, reason = number_format_of(dtype, device, "smart-turn v3", on_gpu="float32")
        import torch

        content = path.read_bytes()
        network = v3_network_class()()
        try:
            weights = v3_parameters(content)
            network.load_state_dict({name: torch.from_numpy(np.array(weight)) for name, weight in weights.items()})
        except (ValueError, IndexError, KeyError, RuntimeError) as error:
            raise InputError(f"{path} does not have the weights of smart-turn v3: {error}") from error
        reason += ", from int8 weights" if number_format(content) == "int8" else ""
        for part in network.children():
            part.to(torch_dtype)
        return cls(network, "smart-turn-v3", device, lengths=[V3_SAMPLES], at_end=True, precision=reason)
