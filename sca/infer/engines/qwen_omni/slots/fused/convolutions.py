"""The convolutions of the vocoder over a window of frames that may start before the conversation.

Before the first frame of a conversation the library pads every convolution with zeros. Here, everything before the
beginning is set to zero before every convolution, which is equivalent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Begin", "Convolutions"]

Stage = Callable[["Tensor", "Begin"], "Tensor"]
"""Maps a wave `(b, channels, t)` to the next one."""


class Begin:
    """The first frame of each conversation in the window, with a mask for each rate of a wave."""

    def __init__(self, frame: Tensor) -> None:
        """Make the mask.

        Args:
            frame: The index of the first frame, `(b, 1)`; zero or less if it is before the window.
        """
        self._frame = frame
        self._masks: dict[int, Tensor] = {}

    def silence(self, wave: Tensor, rate: int) -> Tensor:
        """Set everything before the beginning in `(b, channels, t)` to zero, at `rate` samples per frame."""
        import torch

        if rate not in self._masks:
            self._masks[rate] = (torch.arange(wave.shape[-1], device=wave.device) >= self._frame * rate)[:, None]
        return wave * self._masks[rate]


class Convolutions:
    """All convolutions of the vocoder, from hidden states `(b, dim, frames)` to the wave `(b, 1, samples)`."""

    def __init__(self, code2wav: Module) -> None:
        self._stages, rate = [], 1
        for blocks in (*code2wav.upsample, code2wav.decoder):
            for block in blocks:
                for stage, factor in _stages(block, rate):
                    self._stages.append(stage)
                    rate *= factor
        self._rate = rate

    def __call__(self, hidden: Tensor, begin: Begin) -> Tensor:
        """Return the wave. Everything before the beginning is zero."""
        wave = hidden
        for stage in self._stages:
            wave = stage(wave, begin)
        return begin.silence(wave, self._rate)


def _stages(block: Module, rate: int) -> Iterator[tuple[Stage, int]]:
    """Yield the stages of a block of the library, each with its factor on the samples per frame."""
    kind = type(block).__name__.removeprefix("Qwen3OmniMoe")
    if kind == "Code2WavDecoderBlock":
        for part in block.block:
            for stage, factor in _stages(part, rate):
                yield stage, factor
                rate *= factor
    elif kind == "CausalTransConvNet":
        yield lambda wave, begin: block(begin.silence(wave, rate)), int(block.conv.stride[0])
    elif kind == "CausalConvNet":
        convolve = _Convolution(block)
        yield lambda wave, begin: convolve(begin.silence(wave, rate)), 1
    elif kind == "ConvNeXtBlock":
        yield _ConvNext(block, rate), 1
    elif kind == "Code2WavDecoderResidualUnit":
        yield _ResidualUnit(block, rate), 1
    else:
        snake = _Snake(block)
        yield lambda wave, begin: snake(wave), 1


class _Convolution:
    """A causal convolution of stride one. The zeros on its left are those of the convolution, so nothing is copied."""

    def __init__(self, module: Module) -> None:
        self._conv, self._padding = module.conv, int(module.padding)

    def __call__(self, wave: Tensor) -> Tensor:
        import torch

        conv = self._conv
        wider = torch.nn.functional.conv1d(
            wave, conv.weight, conv.bias, padding=self._padding, dilation=conv.dilation, groups=conv.groups
        )
        return wider[..., : wave.shape[-1]]


class _Snake:
    """The activation `x + sin²(e^α x) / (e^β + 1e-9)`, sample by sample, with its factors computed once."""

    def __init__(self, module: Module) -> None:
        alpha, beta = module.alpha.detach()[:, None], module.beta.detach()[:, None]
        self._frequency, self._gain = alpha.exp(), 1 / (beta.exp() + module.no_div_by_zero)

    def __call__(self, wave: Tensor) -> Tensor:
        return wave.addcmul(self._gain, (wave * self._frequency).sin_().square_())


class _ConvNext:
    def __init__(self, block: Module, rate: int) -> None:
        self._block, self._rate, self._convolve = block, rate, _Convolution(block.dwconv)

    def __call__(self, wave: Tensor, begin: Begin) -> Tensor:
        block = self._block
        inner = block.norm(self._convolve(begin.silence(wave, self._rate)).permute(0, 2, 1))
        inner = block.pwconv2(block.act(block.pwconv1(inner)))
        return wave.addcmul(block.gamma[:, None], inner.permute(0, 2, 1))


class _ResidualUnit:
    def __init__(self, block: Module, rate: int) -> None:
        self._rate = rate
        self._snakes = _Snake(block.act1), _Snake(block.act2)
        self._convolve, self._mix = _Convolution(block.conv1), _Convolution(block.conv2)

    def __call__(self, wave: Tensor, begin: Begin) -> Tensor:
        inner = self._convolve(begin.silence(self._snakes[0](wave), self._rate))
        return wave + self._mix(self._snakes[1](inner))
