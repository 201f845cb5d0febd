"""CUDA graphs: capture of a stage, and the kernel of the experts that can be captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from typing_extensions import override

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["CudaGraphs", "GraphBackend", "Work", "experts_for", "graphs_for"]

Work = Callable[[], "tuple[Tensor, ...]"]
"""A stage on fixed inputs."""

_GROUPED_MM_CAPTURED = ((9, 0), (10, 0))
"""Compute capabilities on which `grouped_mm` does not read from the device."""

_WARMUPS = 3  # calls before a capture: libraries select kernels and allocate memory at their first calls


class GraphBackend(Protocol):
    """Captures a stage, so that one call replays all of its kernels."""

    def warm_up(self, work: Work) -> None:
        """Run a stage until its libraries have selected their kernels. Raises RuntimeError if it does not run."""

    def capture(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        """Capture a stage.

        Args:
            work: The stage. Its inputs stay where they are.

        Returns:
            A function that runs the stage again, and its outputs, which that function overwrites.

        Raises:
            RuntimeError: The stage cannot be captured.
        """

    def experts(self, dtype: torch.dtype) -> str | None:
        """Return the kernel of the experts (`set_experts_implementation`); None for the present one."""


class CudaGraphs(GraphBackend):
    """CUDA graphs of stages on the current device, with one memory pool for each device.

    Graphs run one after the other, so they can share temporary memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pools: dict[int, Any] = {}

    @override
    def warm_up(self, work: Work) -> None:
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARMUPS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()  # so that the error of a kernel is that of this stage

    @override
    def capture(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        import torch

        graph, device = torch.cuda.CUDAGraph(), torch.cuda.current_device()
        try:
            with torch.cuda.graph(graph, pool=self._pools.get(device)):
                out = work()
        except RuntimeError:
            self._pools.pop(device, None)  # a failed capture can leave the pool unusable
            raise
        self._pools[device] = graph.pool()
        return graph.replay, out

    @override
    def experts(self, dtype: torch.dtype) -> str:
        import torch

        return experts_for(dtype, torch.cuda.get_device_capability(self._device))


def experts_for(dtype: torch.dtype, capability: tuple[int, int]) -> Literal["grouped_mm", "batched_mm"]:
    """Return the kernel of the experts that can be captured.

    `torch.nn.functional.grouped_mm` reads the sizes of the groups on the host, except for bfloat16 on sm90 and sm100
    (`_grouped_mm_cuda` in torch 2.13); a captured stage must not. `batched_mm` never does, but copies the weights of the
    experts of each token. Other GPUs of these generations, such as sm103, use `batched_mm`: nothing shows that the kernel
    for sm100 runs on them.

    Args:
        dtype: Number format of the weights.
        capability: Compute capability of the GPU.
    """
    import torch

    return "grouped_mm" if dtype is torch.bfloat16 and capability in _GROUPED_MM_CAPTURED else "batched_mm"


def graphs_for(device: torch.device, *, wanted: bool) -> GraphBackend | None:
    """Return the graphs of a device; None if it has none, or if they are not wanted."""
    return CudaGraphs(device) if wanted and device.type == "cuda" else None
