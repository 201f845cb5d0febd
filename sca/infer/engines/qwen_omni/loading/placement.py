"""Decide on which devices a model is placed, before it is loaded.

`auto` is one GPU if everything fits on it, otherwise whole stacks on two: the thinker on one, talker and vocoder on the
other. A chunk then crosses once from one GPU to the other, with the hidden states of at most a few tokens. A split layer
by layer is only made if the settings ask for it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sca.config import QwenConfig
from sca.errors import ConfigError
from sca.infer.engines.qwen_omni.loading.demand import CONTEXT_BYTES, Demand
from sca.textutil import counted

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = [
    "LAYERED",
    "Gpu",
    "Placement",
    "check_placement",
    "choose_placement",
    "free_gpus",
    "gb",
    "remove_hooks",
    "slot_numbers",
]

log = logging.getLogger(__name__)

LAYERED = {"layers": "auto", "balanced": "balanced", "balanced_low_0": "balanced_low_0", "sequential": "sequential"}
"""Values that split a model layer by layer, and accelerate's name for each."""
_CHOSEN = ("auto", "stacks", *LAYERED)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        index: Its number.
        free: Free memory in bytes.
        capability: Its compute capability.
    """

    index: int
    free: int
    capability: tuple[int, int] = (9, 0)

    @property
    def name(self) -> str:
        """Its name in torch."""
        return f"cuda:{self.index}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the stacks are.

    Attributes:
        thinker: The GPU of the thinker.
        talker: The GPU of talker and vocoder, which may be the same.
        slots: Number of slots.
    """

    thinker: Gpu
    talker: Gpu
    slots: int = 0

    @property
    def device_map(self) -> str | dict[str, str]:
        """The device map for `from_pretrained`."""
        if self.thinker == self.talker:
            return self.thinker.name
        return {"thinker": self.thinker.name, "talker": self.talker.name, "code2wav": self.talker.name}

    def shares(self, thinker: Demand, talker: Demand) -> list[tuple[Gpu, Demand]]:
        """Return what each GPU has to hold."""
        if self.thinker == self.talker:
            return [(self.thinker, thinker + talker)]
        return [(self.thinker, thinker), (self.talker, talker)]


def check_placement(device_map: str) -> None:
    """Check that the device exists.

    Args:
        device_map: A device, or one of the automatic placements.

    Raises:
        ConfigError: This machine does not have the device, or has one GPU where two are needed.
    """
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device_map == "stacks" and found < 2:
        raise ConfigError(
            f"qwen.device_map is stacks, which needs two GPUs, but this machine has {found}", hint="set it to auto"
        )
    if device_map in _CHOSEN:
        return
    try:
        device = torch.device(device_map)
    except RuntimeError as error:
        raise ConfigError(
            f"qwen.device_map is {device_map}, which is not a device",
            hint=f"use {', '.join(_CHOSEN)}, cpu, cuda or cuda:1, for example",
        ) from error
    if device.type == "cuda":
        if found <= (device.index or 0):
            has = (
                "this machine does not have an NVIDIA GPU"
                if not found
                else f"the last of the {found} GPUs is cuda:{found - 1}"
            )
            raise ConfigError(f"qwen.device_map is {device_map}, but {has}", hint="set it to auto, or to cpu (slow)")
    elif device.type not in ("cpu", "mps") or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise ConfigError(
            f"qwen.device_map is {device_map}, which cannot run this engine", hint="use auto, cpu or cuda"
        )


def free_gpus(device_map: str) -> list[Gpu]:
    """Return the GPUs that a placement may use, with their free memory."""
    import torch

    if not torch.cuda.is_available() or not (device_map in _CHOSEN or device_map.startswith("cuda")):
        return []
    indices: Sequence[int] = range(torch.cuda.device_count())
    if device_map.startswith("cuda"):
        indices = [torch.device(device_map).index or 0]
    return [Gpu(i, torch.cuda.mem_get_info(i)[0], torch.cuda.get_device_capability(i)) for i in indices]


def slot_numbers(qwen: QwenConfig, *, cuda: bool, most: int) -> tuple[int, ...]:
    """Return the numbers of slots to choose from, the largest first.

    Args:
        qwen: The settings. Their number is the only one. By default there are slots on a GPU that holds whole stacks.
        cuda: Whether the model is on an NVIDIA GPU.
        most: The largest number to choose; the others are powers of two.
    """
    if qwen.slots is not None:
        return (qwen.slots,)
    if not (cuda and qwen.device_map not in LAYERED and not qwen.talker_process):
        return (0,)
    return most, *(1 << k for k in reversed(range((most - 1).bit_length())))


def choose_placement(
    qwen: QwenConfig, gpus: Sequence[Gpu], numbers: Sequence[int], demands: Callable[[int], tuple[Demand, Demand]]
) -> Placement:
    """Place whole stacks with the first number of slots that fits, and log what each GPU needs and has.

    Args:
        qwen: The settings.
        gpus: The GPUs to choose from.
        numbers: Numbers of slots, the preferred one first. Only the last one is accepted without space for the graphs.
        demands: Returns what the thinker, and talker and vocoder, need with a number of slots.

    Raises:
        ConfigError: The stacks do not fit.
    """
    candidates = list(_candidates(qwen.device_map, gpus))
    for slots, complete in (*((one, True) for one in numbers), (numbers[-1], False)):
        stacks = demands(slots)
        for placement in candidates:
            if _fits(placement, stacks, complete=complete):
                _report(placement, stacks, slots, complete=complete)
                return replace(placement, slots=slots)
    raise _refusal(qwen, candidates, numbers[-1], demands)


def _candidates(device_map: str, gpus: Sequence[Gpu]) -> Iterator[Placement]:
    """Yield placements, the preferred one first: on one GPU, then on the two with the most free memory."""
    by_space = sorted(gpus, key=lambda one: -one.free)
    if device_map != "stacks":
        yield from (Placement(one, one) for one in by_space)
    if device_map in ("auto", "stacks"):
        yield from (Placement(*pair) for pair in itertools.combinations(by_space, 2))


def _fits(placement: Placement, stacks: tuple[Demand, Demand], *, complete: bool) -> bool:
    return all(
        share.least + complete * share.graphs + CONTEXT_BYTES <= gpu.free for gpu, share in placement.shares(*stacks)
    )


def _report(placement: Placement, stacks: tuple[Demand, Demand], slots: int, *, complete: bool) -> None:
    for gpu, share in placement.shares(*stacks):
        log.warning("%s needs %s, %s are free", gpu.name, _needs(share, slots), gb(gpu.free))
    if not complete:
        log.warning("the CUDA graphs may not fit; what cannot be captured runs without a graph, more slowly")


def _needs(share: Demand, slots: int) -> str:
    parts = [f"weights {gb(share.weights)}", f"{counted(max(1, slots), 'conversation')} {gb(share.caches)}"]
    if share.work:
        parts.append(f"intermediate results {gb(share.work)}")
    parts.append(f"CUDA {gb(CONTEXT_BYTES)}")
    if share.graphs:
        parts.append(f"graphs up to {gb(share.graphs)}")
    return f"{gb(share.least + share.graphs + CONTEXT_BYTES)} ({', '.join(parts)})"


def _refusal(
    qwen: QwenConfig, candidates: Sequence[Placement], slots: int, demands: Callable[[int], tuple[Demand, Demand]]
) -> ConfigError:
    """Return the error of a model that does not fit, with the number of slots that does."""
    best = next((one for one in candidates if one.thinker != one.talker), candidates[0])
    lines = [
        f"{gpu.name} needs {_needs(share, slots)} but has {gb(gpu.free)} free"
        for gpu, share in best.shares(*demands(slots))
    ]
    fewer = next(
        (n for n in range(slots - 1, 0, -1) if any(_fits(one, demands(n), complete=False) for one in candidates)), 0
    )
    if fewer:
        hint = f"set qwen.slots to {fewer} at most, or qwen.context_tokens lower"
    else:
        hint = "use a GPU with more memory, or two (qwen.device_map=auto)"
        if qwen.device_map == "auto":
            hint = "use a GPU with more memory or a quantised checkpoint; qwen.device_map=layers splits the model over all GPUs"
            hint += " and main memory, layer by layer, which is slower"
    return ConfigError(f"{qwen.model_id} does not fit: {'; '.join(lines)}", hint=hint)


def remove_hooks(model: Module) -> None:
    """Remove the hooks of accelerate from a model of whole stacks: the engine moves their inputs."""
    from accelerate.hooks import remove_hook_from_submodules  # type: ignore[import-untyped]

    remove_hook_from_submodules(model)


def gb(count: float) -> str:
    """Return a size in GB, or below 0.1 GB in MB."""
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
