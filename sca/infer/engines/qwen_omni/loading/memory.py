"""Check that a model fits on the devices of this machine, and choose them, before it is loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.config import QwenConfig
from sca.infer.engines.qwen_omni.loading.demand import Demand, Workload, demands
from sca.infer.engines.qwen_omni.loading.flops import chunk_work, skeleton
from sca.infer.engines.qwen_omni.loading.placement import LAYERED, Gpu, choose_placement, free_gpus, slot_numbers
from sca.infer.engines.qwen_omni.loading.quantised import check_quantisation, quantisation_of, stored_bytes
from sca.infer.engines.qwen_omni.loading.requirements import check_main_memory, dtype_of, speed_without_gpu
from sca.infer.engines.qwen_omni.slots.cuda_graphs import experts_for
from sca.infer.engines.qwen_omni.slots.graph_keys import KeyPlan, Stage
from sca.textutil import counted
from sca.units import Grid

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

__all__ = ["Placed", "place", "workload"]

log = logging.getLogger(__name__)

_FP8_FROM = (8, 9)
"""transformers expands FP8 weights to bfloat16 on a CPU and on older GPUs."""

_REAL_TIME_SLOTS = {"grouped_mm": 8, "batched_mm": 4}
"""Most slots that are chosen, by the kernel of the experts. By `scripts/bench/qwen_traffic.py` a chunk of that many sessions with
full caches moves 166 or 315 GB in the released size: half of its 320 ms at 1.04 or 1.97 TB/s."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a model is loaded, and for how many sessions.

    Attributes:
        device_map: The device map for `from_pretrained`.
        slots: Number of slots; 0 for sessions that are stepped alone.
    """

    device_map: str | dict[str, str]
    slots: int


def place(config: PretrainedConfig, qwen: QwenConfig, grid: Grid, text_tokens: int, sessions: int = 1) -> Placed:
    """Choose the device map of a model, and the number of slots. Warn if it runs without a GPU, or partly in main memory.

    Args:
        config: The configuration of the model.
        qwen: The settings.
        grid: The grid of a session.
        text_tokens: Text tokens per chunk.
        sessions: Most sessions at a time, for the number of slots if `qwen.slots` is not set.

    Raises:
        ConfigError: The model and its conversations do not fit.
        MissingToolError: A package that its quantised weights need is not installed.
    """
    dtype, gpus = dtype_of(config, qwen.torch_dtype), free_gpus(qwen.device_map)
    stored, model = _stored(config, qwen, gpus), skeleton(config)
    bound = min(_REAL_TIME_SLOTS[experts_for(dtype, one.capability)] for one in gpus) if gpus else 1
    numbers = slot_numbers(qwen, cuda=bool(gpus), most=min(sessions, bound))

    def needed(slots: int) -> tuple[Demand, Demand]:
        return demands(model, qwen, grid, workload(config, qwen, slots, gpus, dtype), dtype, stored)

    if gpus and qwen.device_map not in LAYERED:
        placement = choose_placement(qwen, gpus, numbers, needed)
        if qwen.slots is None and sessions > 1 and placement.slots:
            log.warning(_why(placement.slots, numbers, sessions))
        return Placed(placement.device_map, placement.slots)
    thinker, talker = needed(numbers[0])
    check_main_memory(qwen.model_id, thinker + talker, sum(one.free for one in gpus), dtype)
    if not gpus:
        log.warning(speed_without_gpu(chunk_work(model, grid, text_tokens), dtype, grid))
    return Placed(LAYERED.get(qwen.device_map, qwen.device_map), numbers[0])


def _why(slots: int, numbers: tuple[int, ...], sessions: int) -> str:
    """Return why a number of slots was chosen."""
    if slots < numbers[0]:
        reason = f"{numbers[numbers.index(slots) - 1]} do not fit into the free memory"
    elif slots == sessions:
        reason = "as many as there may be sessions"
    else:
        reason = "the most that are chosen, so that a chunk takes less than its time"
    return f"{counted(slots, 'session')} at a time, because qwen.slots is not set: {reason}"


def _stored(config: PretrainedConfig, qwen: QwenConfig, gpus: list[Gpu]) -> dict[str, int] | None:
    """Check the packages of quantised weights, and return the size of each part as it is on the device."""
    method = quantisation_of(config)
    if method is None:
        return None
    check_quantisation(qwen.model_id, method, cuda=bool(gpus))
    if method == "fp8" and not (gpus and all(one.capability >= _FP8_FROM for one in gpus)):
        return None
    return stored_bytes(qwen.model_id, qwen.model_revision)


def workload(config: PretrainedConfig, qwen: QwenConfig, slots: int, gpus: list[Gpu], dtype: torch.dtype) -> Workload:
    """Return what runs, with the keys of the graphs.

    Args:
        config: The configuration of the model.
        qwen: The settings.
        slots: Number of slots.
        gpus: The GPUs of the model.
        dtype: The dtype of the weights.
    """
    if not (slots and gpus and qwen.cuda_graphs):
        return Workload(slots)
    thinker, talker = (
        part.text_config.max_position_embeddings for part in (config.thinker_config, config.talker_config)
    )
    rooms: dict[Stage, int] = {
        "thinker": min(qwen.context_tokens, thinker),
        "talker": min(qwen.talker_context_frames, talker),
    }
    stages = [key.stage for key in KeyPlan(slots, rooms, graphs=True, every_slot=False)]
    gathers = any(experts_for(dtype, one.capability) != "grouped_mm" for one in gpus)
    return Workload(slots, (stages.count("thinker"), stages.count("talker")), gathers)
