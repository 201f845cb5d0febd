"""Load the thinker of a checkpoint for training: neither the talker, nor the vocoder, nor the vision tower is in memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sca.config import QwenConfig
from sca.errors import ConfigError
from sca.infer.engines.qwen_omni.loading.load import check_folder, from_pretrained
from sca.infer.engines.qwen_omni.loading.quantised import quantisation_of
from sca.infer.engines.qwen_omni.loading.self_check import check_audio_tower

if TYPE_CHECKING:
    import torch
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["empty_thinker", "load_thinker", "model_config"]

_UNUSED = r"^((thinker\.)?(model\.)?visual|talker|code2wav)\."
"""Stored weights that a training run does not read."""


def model_config(qwen: QwenConfig) -> PretrainedConfig:
    """Return the configuration of the whole checkpoint, without its weights.

    Args:
        qwen: The settings of the model.

    Raises:
        InputError: The folder does not contain a Qwen3-Omni model.
        UpstreamError: The hub does not provide it.
        ConfigError: Its weights are quantised.
    """
    from transformers import Qwen3OmniMoeConfig

    folder = Path(qwen.model_id).expanduser()
    if folder.is_dir():
        check_folder(folder)
    config: PretrainedConfig = from_pretrained(Qwen3OmniMoeConfig, qwen)
    method = quantisation_of(config)
    if method is not None:
        raise ConfigError(
            f"the weights of {qwen.model_id} are quantised with {method}; sca train needs those of the original",
            hint="train the model in bfloat16, then run the adapter on the quantised one",
        )
    return config


def load_thinker(qwen: QwenConfig, config: PretrainedConfig, dtype: torch.dtype, device: torch.device | None) -> Module:
    """Load the weights of the thinker, and check that its audio tower encodes every chunk as a separate item.

    Args:
        qwen: The settings of the model.
        config: The configuration of the checkpoint, see `model_config`.
        dtype: The number format of the weights.
        device: The device; None for main memory, where FSDP and DeepSpeed expect the weights.

    Returns:
        The thinker in evaluation mode, without its vision tower.

    Raises:
        ScaError: See `from_pretrained`.
        ConfigError: The audio tower lets chunks influence each other.
    """
    thinker: Module = from_pretrained(
        _thinker_class(),
        qwen,
        config=config.thinker_config,
        dtype=dtype,
        attn_implementation=qwen.attn_implementation,
        device_map=None if device is None else {"": device},
    ).eval()
    check_audio_tower(SimpleNamespace(thinker=thinker, config=config), qwen.attn_implementation)
    return thinker


def empty_thinker(config: PretrainedConfig, dtype: torch.dtype) -> Module:
    """Return a thinker on the meta device: every parameter has a shape and uses no memory.

    Args:
        config: The configuration of the checkpoint, see `model_config`.
        dtype: The number format of the weights.
    """
    import torch

    with torch.device("meta"):
        thinker: Module = _thinker_class()._from_config(config.thinker_config, dtype=dtype)
    return thinker


def _thinker_class() -> Any:
    """Return the class of the thinker without its vision tower: 1.1 GB that no row needs."""
    from transformers import Qwen3OmniMoeThinkerForConditionalGeneration as Thinker

    def create(self: Any, config: Any) -> None:
        Thinker.__init__(self, config)
        self.model.visual = None
        self._keys_to_ignore_on_load_unexpected = {*(self._keys_to_ignore_on_load_unexpected or ()), _UNUSED}

    return type(Thinker.__name__, (Thinker,), {"__init__": create, "__module__": Thinker.__module__})
