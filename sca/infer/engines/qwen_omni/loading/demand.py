"""Estimate the memory that the stacks of the model need, before any weight is read.

Two stacks can be on different devices: the thinker (with the audio tower), and the talker with its code predictor and
the vocoder. The vision tower is never loaded. Weights, caches and gathered experts follow from the configuration. The
memory of CUDA is an estimate, on the high side:

* The context, the kernels and the workspaces of the libraries: 1343 MB, measured after the first kernel with all
  kernels loaded (https://huggingface.co/docs/transformers/v4.49.0/model_memory_anatomy). Kernels are loaded on demand
  today, so it is less.
* A CUDA graph: 64 KiB per node, from 362 MB at 500 nodes, 395 MB at 1000 and 458 MB at 2000
  (https://forums.developer.nvidia.com/t/244901, CUDA 11.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.config import QwenConfig
from sca.infer.engines.qwen_omni.loading.flops import cache_values, parameters, vocoder_cache_values
from sca.infer.engines.qwen_omni.slots.fused.mlp import rows_at_a_time
from sca.units import Grid

if TYPE_CHECKING:
    import torch
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["CONTEXT_BYTES", "Demand", "Workload", "demands"]

CONTEXT_BYTES = 1_343_000_000
"""Context, kernels and workspaces of CUDA on a device; see the module."""

_NODE_BYTES = 64 << 10
_PROMPT_TOKENS = 128
"""Tokens of a prompt that are processed together; the default prompt has fewer."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs on the devices.

    Attributes:
        slots: Number of slots; 0 for sessions that are stepped alone, of which one is counted.
        graphs: Number of graphs of thinker and of talker.
        gathers: Whether the weights of the selected experts are copied for each token.
    """

    slots: int
    graphs: tuple[int, int] = (0, 0)
    gathers: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """Memory of a stack on its device, in bytes.

    Attributes:
        weights: The weights, as they are on the device.
        caches: Keys and values of all sessions at full length.
        work: Intermediate results.
        graphs: CUDA graphs.
    """

    weights: int
    caches: int
    work: int = 0
    graphs: int = 0

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            self.weights + other.weights,
            self.caches + other.caches,
            max(self.work, other.work),
            self.graphs + other.graphs,
        )

    @property
    def least(self) -> int:
        """Everything but the graphs, without which the engine runs, more slowly."""
        return self.weights + self.caches + self.work


def demands(
    model: Module,
    qwen: QwenConfig,
    grid: Grid,
    load: Workload,
    dtype: torch.dtype,
    stored: dict[str, int] | None = None,
) -> tuple[Demand, Demand]:
    """Return what the thinker needs, and what talker and vocoder need.

    Args:
        model: A `skeleton`.
        qwen: The settings.
        grid: The grid of a session.
        load: What runs.
        dtype: The dtype of the weights, and of the caches.
        stored: The size of quantised weights (`stored_bytes`).
    """
    import torch

    config, size, sessions = model.config, dtype.itemsize, max(1, load.slots)
    thinker, talker, vocoder = _weights(model, qwen, size, stored)
    caches = cache_values(config, qwen.context_tokens, qwen.talker_context_frames)
    wave = vocoder_cache_values(config) * int(getattr(torch, qwen.vocoder_dtype).itemsize)
    rows = max(sessions * (grid.frames_per_chunk + 1), _PROMPT_TOKENS), sessions
    texts = config.thinker_config.text_config, config.talker_config.text_config
    work = [load.gathers * _gathered(text, count, size) for text, count in zip(texts, rows, strict=True)]
    graphs = [count * each * _NODE_BYTES for count, each in zip(load.graphs, _launches(config), strict=True)]
    return (
        Demand(thinker, sessions * caches[0] * size, work[0], graphs[0]),
        Demand(talker + vocoder, sessions * (caches[1] * size + wave), work[1], graphs[1]),
    )


def _weights(model: Module, qwen: QwenConfig, size: int, stored: dict[str, int] | None) -> tuple[int, int, int]:
    """Return the bytes of thinker, talker and vocoder."""
    import torch

    vocoder = parameters(model.code2wav) * int(getattr(torch, qwen.vocoder_dtype).itemsize)
    if stored is not None:
        return stored.get("thinker", 0), stored.get("talker", 0), vocoder
    thinker = parameters(model.thinker) - parameters(model.thinker.model.visual)
    return thinker * size, parameters(model.talker) * size, vocoder


def _gathered(text: PretrainedConfig, rows: int, size: int) -> int:
    """Return the bytes of the weights that are copied for the experts of `rows` in a layer (three matrices for each)."""
    row = size * int(text.num_experts_per_tok) * 3 * int(text.hidden_size) * int(text.moe_intermediate_size)
    return row * min(rows, rows_at_a_time(row))


def _launches(config: PretrainedConfig) -> tuple[int, int]:
    """Return the number of launches of a chunk (`scripts/bench/qwen_launches.py`): about 4,100 and 7,480 in the released size."""
    thinker, talker = config.thinker_config, config.talker_config
    predictor = talker.code_predictor_config.num_hidden_layers * (talker.num_code_groups - 1)
    return (
        84 * thinker.text_config.num_hidden_layers,
        4 * (32 * talker.text_config.num_hidden_layers + 15 * predictor) + 400,
    )
