"""Graphs without a GPU: the path of capture, replay and failure, for tests on any device."""

from collections.abc import Callable

import torch
from typing_extensions import override

from sca.infer.engines.qwen_omni.slots.cuda_graphs import GraphBackend, Work


class FakeGraphs(GraphBackend):
    """Runs a captured stage again, and copies its results to where those of the capture were, as a CUDA graph does.

    Attributes:
        captures: Number of attempts to capture.
        replays: Number of replays.
    """

    def __init__(self, *, failing: tuple[int, ...] = (), broken: int | None = None) -> None:
        """Create graphs.

        Args:
            failing: Captures that fail, from 1 on.
            broken: The warm-up that fails, from 1 on.
        """
        self._failing, self._broken = failing, broken
        self.warm_ups = self.captures = self.replays = 0

    @override
    def warm_up(self, work: Work) -> None:
        self.warm_ups += 1
        if self.warm_ups == self._broken:
            raise RuntimeError("CUDA error: no kernel image is available\nmore lines")
        work()

    @override
    def capture(self, work: Work) -> tuple[Callable[[], None], tuple[torch.Tensor, ...]]:
        self.captures += 1
        if self.captures in self._failing:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")
        # A capture computes nothing.
        places = tuple(torch.full_like(one, 77) for one in work())

        def replay() -> None:
            self.replays += 1
            for place, one in zip(places, work(), strict=True):
                place.copy_(one)

        return replay, places

    @override
    def experts(self, dtype: torch.dtype) -> str | None:
        return None
