"""Select an id from logits: the most likely one, or a sample of the top k.

The random numbers are generated on the CPU per session, so that they need no GPU synchronisation, and sessions that are
stepped together draw the same ids as alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SamplingNoise", "sample", "sampler"]


class SamplingNoise:
    """Uniform float32 numbers in [0, 1). Equal seeds give equal numbers, drawn one by one or many at a time."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def draw(self, *shape: int) -> np.ndarray:
        """Return the next numbers in the given shape."""
        return self._generator.random(shape, dtype=np.float32)


def sample(logits: Tensor, temperature: float, top_k: int, noise: Tensor) -> Tensor:
    """Select ids from logits.

    Args:
        logits: `(b, n)`.
        temperature: The sampling temperature; 0 selects the most likely id.
        top_k: Number of most likely ids to sample from.
        noise: Uniform random numbers in [0, 1), `(b, 1)`.

    Returns:
        The ids, `(b, 1)`.
    """
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    best = logits.float().topk(min(top_k, logits.shape[-1]))
    below = (best.values / temperature).softmax(-1).cumsum(-1)
    place = (below <= noise * below[:, -1:]).sum(-1, keepdim=True).clamp(max=below.shape[-1] - 1)
    return best.indices.gather(-1, place)


def sampler(temperature: float, top_k: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Return a function from logits `(1, n)` to the selected id `(1, 1)`: `sample` with its own random numbers."""
    import torch

    noise = SamplingNoise(seed)
    return lambda logits: sample(logits, temperature, top_k, torch.from_numpy(noise.draw(1, 1)).to(logits.device))
