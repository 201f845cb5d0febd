"""Run the stages of a `ChunkStep`: directly, or on an NVIDIA GPU as CUDA graphs that are all captured in advance.

Inputs and outputs are copied through pinned memory without waiting. The host waits only in `read`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sca.errors import ScaError
from sca.infer.engines.qwen_omni.slots.cuda_graphs import GraphBackend
from sca.infer.engines.qwen_omni.slots.graph_keys import GraphKey, KeyPlan, Stage
from sca.infer.engines.qwen_omni.slots.step import ChunkStep
from sca.textutil import first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["StageRunner"]

log = logging.getLogger(__name__)

_NOTICE_EVERY = 8


class StageRunner:
    """Runs the stages of a chunk.

    Attributes:
        keys: The shapes in which the stages run.
        captured: The keys with a graph.
        waits: Number of times the host waited for the device.
    """

    def __init__(self, step: ChunkStep, keys: KeyPlan, graphs: GraphBackend | None) -> None:
        """Create a runner.

        Args:
            step: The stages.
            keys: The shapes in which they run.
            graphs: Captures stages; None to run them directly.
        """
        self.keys, self._step, self._graphs = keys, step, graphs
        self._devices: dict[Stage, torch.device] = dict(zip(("thinker", "talker"), step.devices, strict=True))
        self._replays: dict[GraphKey, tuple[Callable[[], None], tuple[Tensor, ...]]] = {}
        self._inputs: dict[tuple[Stage, int], _Inputs] = {}
        self._link = step.link()
        self._outputs: dict[tuple[Stage, int], _Output] = {}
        self._sent: dict[Stage, _Output] = {}
        self.waits = 0

    @property
    def captured(self) -> frozenset[GraphKey]:  # noqa: D102 - see the class
        return frozenset(self._replays)

    def capture(self, blank: Callable[[GraphKey], list[np.ndarray]]) -> None:
        """Capture the graphs of all keys. A stage that cannot be captured runs without a graph, with a notice.

        Args:
            blank: Returns the inputs of a key without active slots, which change nothing.

        Raises:
            ScaError: A stage does not run.
        """
        if self._graphs is None:
            return
        keys, failed = list(self.keys), dict[GraphKey, str]()
        for number, key in enumerate(keys, 1):
            level = logging.WARNING if number % _NOTICE_EVERY == 1 or number == len(keys) else logging.INFO
            log.log(level, "capturing CUDA graphs, %d of %d (%s)", number, len(keys), key)
            work = partial(self._work, key, self._fill(key, blank(key)))
            selected = _selected(self._devices[key.stage])
            try:
                with selected:
                    self._graphs.warm_up(work)
            except RuntimeError as error:
                raise ScaError(
                    f"the stage of the {key.stage} does not run with {key.slots} slots and {key.cells} cells: {first_line(error)}",
                    hint="lower qwen.slots or qwen.context_tokens if memory is short, or set qwen.slots to 0",
                ) from error
            try:
                with selected:
                    self._replays[key] = self._graphs.capture(work)
                self._outputs.setdefault((key.stage, key.slots), _Output(self._replays[key][1][0]))
            except RuntimeError as error:
                failed[key] = first_line(error)
        if failed:
            log.warning(
                "%d of %d CUDA graphs could not be captured and run without a graph, more slowly: %s (%s)",
                len(failed),
                len(keys),
                "; ".join(map(str, failed)),
                next(iter(failed.values())),
            )

    def think(self, key: GraphKey, inputs: list[np.ndarray]) -> Tensor:
        """Run the stage of the thinker; see `ChunkStep`. `read` returns the answer.

        Args:
            key: A key of `keys`.
            inputs: Features, numbers, options and recent tokens.

        Returns:
            The hidden states on the device, which later steps do not overwrite.
        """
        answer, hidden = self._run(key, inputs)
        self._sent.clear()
        self._send(key, answer)
        for link, one in zip(self._link, (answer, hidden), strict=True):
            link[: key.slots].copy_(one, non_blocking=True)
        return hidden if key not in self._replays else hidden.clone()

    def speak(self, key: GraphKey, numbers: np.ndarray, noise: np.ndarray) -> None:
        """Run the stage of the talker for the answer of the thinker; see `ChunkStep`. `read` returns the wave.

        Args:
            key: A key of `keys`, with no more slots than that of the thinker.
            numbers: The state of the slots.
            noise: Random numbers for the sampling.
        """
        (wave,) = self._run(key, [numbers, noise])
        self._send(key, wave)

    def read(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Wait for the device.

        Returns:
            The answer, and the wave if the stage of the talker was run. Valid until the next chunk.
        """
        import torch

        self.waits += 1
        for device in {one.device for one in self._sent.values() if one.device.type == "cuda"}:
            torch.cuda.current_stream(device).synchronize()
        wave = self._sent.get("talker")
        return self._sent["thinker"].array(), None if wave is None else wave.array()

    def _run(self, key: GraphKey, arrays: list[np.ndarray]) -> tuple[Tensor, ...]:
        inputs = self._fill(key, arrays)
        if key not in self._replays:
            return self._work(key, inputs)
        replay, out = self._replays[key]
        replay()
        return out

    def _work(self, key: GraphKey, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        if key.stage == "thinker":
            return self._step.think(inputs, key.cells)
        return self._step.speak([*inputs, *(one[: key.slots] for one in self._link)], key.cells)

    def _fill(self, key: GraphKey, arrays: list[np.ndarray]) -> list[Tensor]:
        """Copy inputs to the device. With graphs, those of a key are always in the same place."""
        import torch

        given, device = [torch.from_numpy(one) for one in arrays], self._devices[key.stage]
        if device.type == "cpu" and self._graphs is None:
            return given
        place = key.stage, key.slots
        if place not in self._inputs:
            self._inputs[place] = _Inputs(given, device)
        return self._inputs[place].fill(given)

    def _send(self, key: GraphKey, result: Tensor) -> None:
        place = key.stage, key.slots
        if place not in self._outputs:
            self._outputs[place] = _Output(result)
        self._outputs[place].send(result)
        self._sent[key.stage] = self._outputs[place]


def _selected(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a GPU is the current one: a capture has the streams of that device."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _Inputs:
    """The input tensors of a stage for one number of slots, on the host and on the device."""

    def __init__(self, like: list[Tensor], device: torch.device) -> None:
        import torch

        pinned = device.type == "cuda"  # so that the host does not wait for copies
        self._host = [torch.empty_like(one, pin_memory=pinned) for one in like]
        self._device = [torch.empty_like(one, device=device) for one in like]

    def fill(self, given: list[Tensor]) -> list[Tensor]:
        """Copy inputs to the device. The previous step has ended, because its result was awaited."""
        for one, host, device in zip(given, self._host, self._device, strict=True):
            host.copy_(one)
            device.copy_(host, non_blocking=True)
        return self._device


class _Output:
    """The place of a result on the host, and the way to it."""

    def __init__(self, like: Tensor) -> None:
        import torch

        self.device = like.device
        self._host = torch.empty_like(like, device="cpu", pin_memory=True) if like.device.type == "cuda" else None
        self._tensor = like

    def send(self, tensor: Tensor) -> None:
        """Begin to copy a result to the host."""
        self._tensor = tensor
        if self._host is not None:
            self._tensor = self._host.copy_(tensor, non_blocking=True)

    def array(self) -> np.ndarray:
        """Return the result. From a GPU it is there when the work of its stream has ended."""
        array: np.ndarray = self._tensor.cpu().numpy()
        return array
