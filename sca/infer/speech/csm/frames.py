"""Frames of codes from CSM: the backbone gives the first code of a frame, the depth decoder the others.

The loops are those of `CsmForConditionalGeneration.generate`, over caches of fixed size and without synchronisation
within a frame. On an NVIDIA GPU a frame can be one CUDA graph for each span of the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sca.infer.speech.csm.sampling import CodeNoise, Sampling
from sca.infer.speech.csm.transformer import CachedStack

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["FrameLoop"]

_LEAST_SPAN = 256
_WARMUPS = 3  # calls before a capture: libraries select kernels and allocate memory at their first calls


class FrameLoop:
    """Generates frames for one sequence at a time. The caches are used again for the next one.

    Args:
        model: A `CsmForConditionalGeneration`.
        graphs: Whether to capture CUDA graphs; ignored on other devices.

    Attributes:
        positions: The most positions of prompt and frames.
        captured: The number of graphs.
    """

    def __init__(self, model: Module, *, graphs: bool) -> None:
        import torch

        config = model.config
        self._model, self._depth = model, model.depth_decoder.model
        self._device = model.lm_head.weight.device
        self.positions = int(config.max_position_embeddings)
        self._books, self._ids = int(config.num_codebooks), int(config.vocab_size)
        self._backbone = CachedStack(model.backbone_model, self.positions)
        self._stack = CachedStack(self._depth, self._books)
        self._places = torch.arange(self._books, device=self._device)
        # The state that a step reads and writes.
        self._hidden = torch.zeros(1, config.hidden_size, dtype=model.lm_head.weight.dtype, device=self._device)
        self._position = torch.zeros(1, dtype=torch.long, device=self._device)
        self._graphs = graphs and self._device.type == "cuda"
        self._kept: dict[tuple[int, Sampling], tuple[Any, Tensor]] = {}
        self._noise = torch.ones(self._books, self._ids, device=self._device)

    @property
    def captured(self) -> int:
        """The number of graphs."""
        return len(self._kept)

    def run(self, prompt: Tensor, most: int, sampling: Sampling, seed: int) -> Iterator[Tensor]:
        """Yield frames of codes until the model ends the speech.

        Args:
            prompt: The embedded prompt, `(1, n, dim)`.
            most: The most frames.
            sampling: How codes are selected.
            seed: The random seed.

        Yields:
            The codes of a frame, int64 `(books,)`, on the device.
        """
        import torch

        length = prompt.shape[1]
        noise = CodeNoise(seed, self._books, self._ids, self._device)
        with torch.inference_mode():
            places = torch.arange(length, device=self._device)
            self._hidden.copy_(self._backbone(prompt, places, length)[:, -1])
            self._position.fill_(length)
        for number in range(most):
            with torch.inference_mode():
                drawn = noise.draw() if sampling.temperature > 0 else noise.skip()
                frame = self._next(drawn, length + number + 1, sampling)
                ends = frame.cpu() == self._model.config.codebook_eos_token_id
            if not ends.all():
                yield frame
            if ends[:-1].all():
                return

    def _next(self, noise: Tensor, cells: int, sampling: Sampling) -> Tensor:
        """Return the next frame, and run the backbone on it."""
        cells = min(cells, self.positions)
        if not self._graphs:
            return self._step(noise, cells, sampling)
        span = min(max(_LEAST_SPAN, 1 << (cells - 1).bit_length()), self.positions)
        self._noise.copy_(noise)
        if (span, sampling) not in self._kept:
            self._kept[span, sampling] = self._capture(span, sampling)
        graph, out = self._kept[span, sampling]
        graph.replay()
        return out.clone()

    def _step(self, noise: Tensor, span: int, sampling: Sampling) -> Tensor:
        codes = self._codes(noise, sampling)
        embedded = self._model.backbone_model.embed_tokens(codes[None, None])
        # The last possible frame has no place for its successor; that result would not be used.
        place = self._position.clamp(max=self.positions - 1)
        self._hidden.copy_(self._backbone(embedded, place, span)[:, -1])
        self._position.add_(1)
        return codes

    def _codes(self, noise: Tensor, sampling: Sampling) -> Tensor:
        import torch

        depth, head = self._depth, self._model.depth_decoder.codebooks_head.weight
        code = sampling.pick(self._model.lm_head(self._hidden), noise[0])
        codes = [code]
        given = torch.stack([self._hidden, depth.embed_tokens(code)], 1)
        for book in range(1, self._books):
            places = self._places[:2] if book == 1 else self._places[book : book + 1]
            out = self._stack(depth.inputs_embeds_projector(given), places, book + 1)[:, -1]
            code = sampling.pick(out @ head[book - 1], noise[book])
            codes.append(code)
            given = depth.embed_tokens(code + book * self._ids)[:, None]
        return torch.cat(codes)

    def _capture(self, span: int, sampling: Sampling) -> tuple[Any, Tensor]:
        """Capture a step. The warm-up calls change the state, which is restored; the cells they write are written again."""
        import torch

        state = (self._hidden, self._position)
        before = [one.clone() for one in state]
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARMUPS):
                self._step(self._noise, span, sampling)
        torch.cuda.current_stream(self._device).wait_stream(side)
        for one, old in zip(state, before, strict=True):
            one.copy_(old)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = self._step(self._noise, span, sampling)
        return graph, out
