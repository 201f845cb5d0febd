"""Run a `ChunkStep`, on an NVIDIA GPU as CUDA graphs: one for each number of slots and each span of the caches.

One copy of each input goes to the device and one tensor comes back, which is the only synchronisation per chunk. There
are few shapes by design: spans are powers of two, and a step includes all slots up to the highest active one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.infer.engines.qwen_omni.slots.step import ChunkStep

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StepRunner", "span_of"]


_LEAST_SPAN = 256
_WARMUPS = 3  # calls before a capture: libraries select kernels and allocate memory at their first calls


def span_of(cells: int, room: int) -> int:
    """Return the number of cells that attention covers: the next power of two.

    Args:
        cells: The number of cells needed.
        room: The number of cells of the cache.
    """
    return min(max(_LEAST_SPAN, 1 << (cells - 1).bit_length()), room)


@dataclass(slots=True)
class _Inputs:
    """The input tensors for one number of slots, on the host and on the device."""

    host: list[Tensor]
    device: list[Tensor]


class StepRunner:
    """Runs a step, directly or as CUDA graphs.

    Attributes:
        graphs: Whether steps are captured.
        syncs: Number of times the host waited for the device.
        captured: The graphs, by number of slots and spans.
    """

    def __init__(self, step: ChunkStep, *, graphs: bool) -> None:
        """Create a runner.

        Args:
            step: The step.
            graphs: Whether to capture CUDA graphs; ignored on other devices.
        """
        self._step = step
        self._device = step.pad.device
        self.graphs = graphs and self._device.type == "cuda"
        self._inputs: dict[int, _Inputs] = {}
        self.captured: dict[tuple[int, int, int], tuple[Any, tuple[Tensor, Tensor]]] = {}
        self._pool: Any = None
        self.syncs = 0

    def __call__(
        self, features: np.ndarray, numbers: np.ndarray, noise: np.ndarray, span: int, said_span: int
    ) -> tuple[np.ndarray, Tensor]:
        """Run one step; see `ChunkStep`.

        Args:
            features: The input.
            numbers: The state of the slots.
            noise: Random numbers for the sampling.
            span: Cells of the thinker cache that attention covers.
            said_span: Cells of the talker cache that attention covers.

        Returns:
            The output of the step as an array, and the hidden states on the device, which later steps do not overwrite.
        """
        inputs = self._fill([features, numbers, noise])
        if self.graphs:
            key = (len(features), span, said_span)
            if key not in self.captured:
                self.captured[key] = self._capture(inputs, span, said_span)
            graph, (out, hidden) = self.captured[key]
            graph.replay()
            hidden = hidden.clone()
        else:
            out, hidden = self._step(inputs.device, span, said_span)
        self.syncs += 1
        host: np.ndarray = out.cpu().numpy()
        return host, hidden

    def _fill(self, arrays: list[np.ndarray]) -> _Inputs:
        import torch

        given = [torch.from_numpy(one) for one in arrays]
        if self._device.type == "cpu":
            return _Inputs(given, given)
        inputs = self._inputs.get(len(arrays[0]))
        if inputs is None:
            # Pinned memory, so that the host does not wait for copies.
            host = [one.pin_memory() for one in given]
            inputs = self._inputs[len(arrays[0])] = _Inputs(host, [one.to(self._device) for one in host])
        for one, host_one, device_one in zip(given, inputs.host, inputs.device, strict=True):
            host_one.copy_(one)  # the previous step has ended, because its result was awaited
            device_one.copy_(host_one, non_blocking=True)
        return inputs

    def _capture(self, inputs: _Inputs, span: int, said_span: int) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Capture the step. The warm-up calls change the state, which is restored; the cells they write are written again."""
        import torch

        step = self._step
        kept = [one.clone() for one in step.state]
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARMUPS):
                step(inputs.device, span, said_span)
        torch.cuda.current_stream(self._device).wait_stream(side)
        for one, before in zip(step.state, kept, strict=True):
            one.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            out = step(inputs.device, span, said_span)
        self._pool = graph.pool() if self._pool is None else self._pool
        return graph, out
