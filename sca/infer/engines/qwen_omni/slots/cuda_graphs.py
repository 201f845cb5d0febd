"""Runs a `ChunkStep`: as it is, or, on an NVIDIA GPU, as CUDA graphs, one for each number of slots and each span of the caches.

To the device goes one copy of each input, back comes one tensor: the only time in a chunk that the host waits for the device. The
shapes are few on purpose: spans are powers of two, and of slots those up to the highest that takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.infer.engines.qwen_omni.slots.step import ChunkStep

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Runner", "span_of"]


_LEAST_SPAN = 256
_TRIES = 3  # before a graph is captured: libraries choose and allocate at their first calls


def span_of(cells: int, room: int) -> int:
    """How many cells are looked at when so many are needed: the next power of two, no more than there are."""
    return min(max(_LEAST_SPAN, 1 << (cells - 1).bit_length()), room)


@dataclass(slots=True)
class _Inputs:
    """Of one number of slots: what the host fills, and where the device finds it."""

    host: list[Tensor]
    device: list[Tensor]


class Runner:
    """graphs: whether to capture; only a CUDA device can.   syncs: how often the host waited for the device.

    captured: the graphs there are, by slots and spans.
    """

    def __init__(self, step: ChunkStep, *, graphs: bool) -> None:
        self._step = step
        self._device = step.pad.device
        self.graphs = graphs and self._device.type == "cuda"
        self._inputs: dict[int, _Inputs] = {}
        self.captured: dict[tuple[int, int, int], tuple[Any, tuple[Tensor, Tensor]]] = {}
        self._pool: Any = None
        self.syncs = 0

    def __call__(
        self, features: np.ndarray, numbers: np.ndarray, dice: np.ndarray, span: int, said_span: int
    ) -> tuple[np.ndarray, Tensor]:
        """See `ChunkStep`; the first of what it returns on the host, the second on the device and not overwritten."""
        inputs = self._fill([features, numbers, dice])
        if self.graphs:
            key = (len(features), span, said_span)
            if key not in self.captured:
                self.captured[key] = self._capture(inputs, span, said_span)
            graph, (out, told) = self.captured[key]
            graph.replay()
            told = told.clone()
        else:
            out, told = self._step(inputs.device, span, said_span)
        self.syncs += 1
        host: np.ndarray = out.cpu().numpy()
        return host, told

    def _fill(self, arrays: list[np.ndarray]) -> _Inputs:
        import torch

        given = [torch.from_numpy(one) for one in arrays]
        if self._device.type == "cpu":
            return _Inputs(given, given)
        inputs = self._inputs.get(len(arrays[0]))
        if inputs is None:
            # Pinned, so that copies do not make the host wait.
            host = [one.pin_memory() for one in given]
            inputs = self._inputs[len(arrays[0])] = _Inputs(host, [one.to(self._device) for one in host])
        for one, host_one, device_one in zip(given, inputs.host, inputs.device, strict=True):
            host_one.copy_(one)  # the chunk before has ended: its result was waited for
            device_one.copy_(host_one, non_blocking=True)
        return inputs

    def _capture(self, inputs: _Inputs, span: int, said_span: int) -> tuple[Any, tuple[Tensor, Tensor]]:
        """A graph of the step. Trying it out changes the state, which is put back; cells written are written again."""
        import torch

        step = self._step
        kept = [one.clone() for one in step.state]
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_TRIES):
                step(inputs.device, span, said_span)
        torch.cuda.current_stream(self._device).wait_stream(side)
        for one, before in zip(step.state, kept, strict=True):
            one.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            out = step(inputs.device, span, said_span)
        self._pool = graph.pool() if self._pool is None else self._pool
        return graph, out
