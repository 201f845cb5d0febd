"""Check that this machine meets the requirements of the model, and estimate its speed without a GPU, before loading it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sca.distribution import install_extra
from sca.errors import ConfigError, MissingToolError
from sca.infer.engines.qwen_omni.loading.demand import Demand
from sca.infer.engines.qwen_omni.loading.flops import ChunkWork
from sca.infer.engines.qwen_omni.loading.placement import gb
from sca.units import Grid

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

__all__ = ["Speed", "check_installed", "check_main_memory", "dtype_of", "measure", "pace", "speed_without_gpu"]

log = logging.getLogger(__name__)

FLOORS = {"transformers": "5.21", "peft": "0.18"}
"""The lowest versions of the extra live: the modules of the thinker have other names before 5.21, and earlier versions of peft do
not import with transformers 5."""

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of a processor.

    Attributes:
        read_bytes: Bytes read from memory per second.
        flops: Operations of a matrix product per second.
    """

    read_bytes: float
    flops: float


def check_installed(*packages: str, needed_by: str = "the engine qwen-omni", extra: str = "live") -> None:
    """Check that packages are installed.

    Args:
        *packages: Import names.
        needed_by: What needs them, for the message.
        extra: The extra that installs them.

    Raises:
        MissingToolError: One of them is not installed, or is too old.
    """
    for name in packages:
        try:
            found = find_spec(name)
        except ValueError:  # its entry in sys.modules is None
            found = None
        if found is None:
            raise MissingToolError(f"{needed_by} needs {name}, which is not installed", hint=install_extra(extra))
        if name in FLOORS and _numbers(version(name)) < _numbers(FLOORS[name]):
            raise MissingToolError(
                f"{needed_by} needs {name} {FLOORS[name]} or newer; {version(name)} is installed",
                hint=install_extra(extra),
            )


def _numbers(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def check_main_memory(model_id: str, need: Demand, gpus: int, dtype: torch.dtype) -> None:
    """Check that the model fits into main memory, or with a split layer by layer also on the GPUs.

    Args:
        model_id: The model, for the message.
        need: What the whole model needs.
        gpus: Free memory of the GPUs that are used, in bytes.
        dtype: The dtype of the weights.

    Raises:
        ConfigError: The model and one conversation do not fit.
    """
    free = gpus + _main_memory()
    if need.least > free:
        where = "on the GPUs and in main memory" if gpus else "in main memory"
        raise ConfigError(
            f"{model_id} needs {gb(need.least)} in {_name(dtype)} (weights {gb(need.weights)}, a conversation "
            f"{gb(need.caches)}), but {gb(free)} are free {where}",
            hint="use a larger machine or more GPUs" + (", or qwen.torch_dtype=bfloat16" if dtype.itemsize > 2 else ""),
        )
    if gpus and need.least > gpus:
        log.warning(
            "%s of the model do not fit on the GPUs and are placed in main memory, which is too slow for a conversation",
            gb(need.least - gpus),
        )


def speed_without_gpu(work: ChunkWork, dtype: torch.dtype, grid: Grid) -> str:
    """Return the line of `pace`, and whether another dtype would be faster.

    Args:
        work: The work of a chunk.
        dtype: The dtype of the weights.
        grid: The grid.
    """
    import torch

    speed = measure(dtype)
    message = "no GPU found: " + pace(work, speed, dtype, grid)
    if dtype is not torch.float32:
        other = _least_s(work, measure(torch.float32), torch.float32)
        if 2 * other < _least_s(work, speed, dtype):
            message += f"; with qwen.torch_dtype=float32 it is {other:.2g} s"
    return message


def pace(work: ChunkWork, speed: Speed, dtype: torch.dtype, grid: Grid) -> str:
    """Describe in one line the minimum time of a chunk.

    Args:
        work: The work of a chunk.
        speed: The speed of the processor.
        dtype: The dtype of the weights.
        grid: The grid.
    """
    least_s, chunk_s, weights = _least_s(work, speed, dtype), float(grid.chunk_s), work.weights * dtype.itemsize
    return (
        f"a chunk of {chunk_s:g} s takes about {least_s:.2g} s or more on this processor, {least_s / chunk_s:.2g} times its "
        f"duration: {gb(weights)} of weights are read, at {gb(speed.read_bytes)}/s, for "
        f"{work.flops / 1e9:.3g} GFLOP, at {speed.flops / 1e9:.3g}/s in {_name(dtype)} (measured just now)"
    )


def _least_s(work: ChunkWork, speed: Speed, dtype: torch.dtype) -> float:
    return float(max(work.weights * dtype.itemsize / speed.read_bytes, work.flops / speed.flops))


def measure(dtype: torch.dtype) -> Speed:
    """Measure the speed of this processor in a fraction of a second: the best of three, because other work may run."""
    import torch

    numbers = torch.ones(32 * 2**20)  # 128 MiB, more than the caches of a processor
    n = 256  # takes 0.2 s on a processor without instructions for the dtype
    matrix = torch.ones(n, n, dtype=dtype)
    read, multiply = ([_seconds(do) for _ in range(3)] for do in (numbers.sum, lambda: matrix @ matrix))
    return Speed(numbers.numel() * 4 / min(read), 2 * n**3 / min(multiply))


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def dtype_of(config: PretrainedConfig, name: str) -> torch.dtype:
    """Return the dtype of the weights; for auto, the dtype in the configuration."""
    import torch

    found = getattr(torch, name) if name != "auto" else config.dtype
    return torch.float32 if found is None else found


def _main_memory() -> int:
    """Return the available bytes of main memory, within the limit of the container."""
    import psutil

    available = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return available if limit == "max" else min(available, int(limit) - int(used))
    except (OSError, ValueError):
        return available


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
