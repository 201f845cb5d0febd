"""How an id is chosen from logits: the likeliest, or drawn from the likeliest few by dice of the session's own.

The dice are numbers made on the CPU and handed in, so that a GPU is never asked for one, and sessions that are stepped together
draw what they would draw alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SamplingNoise", "chooser", "drawn"]


class SamplingNoise:
    """Numbers in [0, 1), float32. The same seed gives the same, thrown one by one or many at a time."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def throw(self, *shape: int) -> np.ndarray:
        """The next ones."""
        return self._generator.random(shape, dtype=np.float32)


def drawn(logits: Tensor, temperature: float, top_k: int, dice: Tensor) -> Tensor:
    """The chosen ids `(b, 1)` of logits `(b, n)`. temperature: 0 takes the likeliest.   dice: `(b, 1)` in [0, 1)."""
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    best = logits.float().topk(min(top_k, logits.shape[-1]))
    below = (best.values / temperature).softmax(-1).cumsum(-1)
    place = (below <= dice * below[:, -1:]).sum(-1, keepdim=True).clamp(max=below.shape[-1] - 1)
    return best.indices.gather(-1, place)


def chooser(temperature: float, top_k: int, seed: int, device: Any) -> Callable[[Tensor], Tensor]:
    """A function from logits `(1, n)` to the chosen id `(1, 1)`: `drawn` with dice of its own."""
    import torch

    dice = SamplingNoise(seed)
    return lambda logits: drawn(logits, temperature, top_k, torch.from_numpy(dice.throw(1, 1)).to(device))
