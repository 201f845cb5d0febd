"""smart-turn v2 in torch: a wav2vec2 encoder, attention pooling and a small classifier over 16 s, in batches.

As in the published code, shorter audio is padded at the end and masked, and of longer audio the end is used. Batches of
shorter audio run with rows of 4 or 8 s, with the same result.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sca.errors import InputError
from sca.infer.turn.models.device_model import FRAME_SAMPLES, DeviceModel, number_format_of, resolve_device
from sca.infer.turn.models.networks import network_class
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from transformers import Wav2Vec2PreTrainedModel

__all__ = ["V2_SAMPLES", "SmartTurnV2"]

V2_SAMPLES = 16 * HEARD_HZ
"""The input length of v2, at 16 kHz."""

_PARTS = (4, 2)  # of the window, for which there are shorter rows


class SmartTurnV2(DeviceModel):
    """The model on one device."""

    def __init__(
        self,
        network: "Wav2Vec2PreTrainedModel",
        device: str = "cpu",
        *,
        normalize: bool = True,
        window_samples: int = V2_SAMPLES,
        precision: str = "the weights of the network",
    ) -> None:
        """Create a model.

        Args:
            network: An instance of `network_class()`.
            device: The device.
            normalize: Whether audio is normalized.
            window_samples: The input length.
            precision: Why the weights have their number format, for display.
        """
        network.set_window(window_samples, normalizes=normalize)
        shorter = [window_samples // part + FRAME_SAMPLES for part in _PARTS] if network.cuts else []
        lengths = [*shorter, window_samples]
        super().__init__(network, "smart-turn-v2", device, lengths=lengths, at_end=False, precision=precision)

    @classmethod
    def load(cls, folder: Path, device: str = "auto", dtype: str = "auto") -> "SmartTurnV2":
        """Load a model.

        Args:
            folder: A directory with config.json and model.safetensors.
            device: The device; `auto` for a GPU if there is one.
            dtype: The number format; `auto` for bfloat16 on a GPU and float32 on a CPU.

        Returns:
            The model.

        Raises:
            MissingToolError: torch is not installed, or the GPU does not exist.
            ConfigError: The number format is int8.
            InputError: The directory does not contain the weights of this network.
        """
        device = resolve_device(device, "smart-turn v2")
        torch_dtype, precision = number_format_of(dtype, device, "smart-turn v2", on_gpu="bfloat16")
        try:
            network, report = network_class().from_pretrained(
                folder, dtype=torch_dtype, local_files_only=True, output_loading_info=True
            )
            settings = folder / "preprocessor_config.json"
            normalize = json.loads(settings.read_text())["do_normalize"] if settings.is_file() else True
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(f"no smart-turn v2 model in {folder}: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:  # transformers initializes missing weights randomly and does not raise
            raise InputError(
                f"no smart-turn v2 model in {folder}: {len(missing)} weights are missing, such as {missing[0]}"
            )
        return cls(network, device, normalize=bool(normalize), precision=precision)
