"""How an id is chosen from logits: the likeliest, or drawn from the likeliest few by a generator of the session's own."""

from collections.abc import Callable
from typing import Any

__all__ = ["chooser"]

Tensor = Any  # torch's, which is imported on use


def chooser(temperature: float, top_k: int, seed: int, device: Any) -> Callable[[Tensor], Tensor]:
    """A function from logits `(1, n)` to the chosen id `(1, 1)`. temperature: 0 takes the likeliest.

    The same seed gives the same choices, whatever other sessions draw.
    """
    import torch

    if temperature == 0:
        return lambda logits: logits.argmax(-1, keepdim=True)
    generator = torch.Generator(device=device).manual_seed(seed)

    def draw(logits: Tensor) -> Tensor:
        best = logits.float().topk(min(top_k, logits.shape[-1]))
        drawn = torch.multinomial((best.values / temperature).softmax(-1), 1, generator=generator)
        return best.indices.gather(-1, drawn)

    return draw
