"""Select codes from logits as transformers does: the most likely one, or a sample of the top k.

`torch.multinomial` draws one code as the largest quotient of probability and exponential noise. The noise is drawn
outside a step, in the same order, so that a captured graph gives the codes of `CsmForConditionalGeneration.generate` with
the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["CodeNoise", "Sampling"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How codes are selected.

    Attributes:
        temperature: The sampling temperature; 0 selects the most likely code.
        top_k: Number of most likely codes to sample from.
        codes: Number of codes that the codec knows; the model also has ids without a meaning, which are not selected.
    """

    temperature: float
    top_k: int
    codes: int

    def pick(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Return one id of logits `(1, n)`, as `(1,)`.

        Args:
            logits: The logits.
            noise: Exponential noise `(n,)`.
        """
        import torch

        scores = logits.float()
        known = torch.arange(scores.shape[-1], device=scores.device) < self.codes
        scores = scores.masked_fill(~known, float("-inf"))
        if self.temperature == 0:
            return scores.argmax(-1)
        scores = scores / self.temperature
        least = scores.topk(min(self.top_k, scores.shape[-1])).values[..., -1, None]
        scores = scores.masked_fill(scores < least, float("-inf"))
        return (scores.softmax(-1) / noise).argmax(-1)


class CodeNoise:
    """Exponential noise for the codes of a frame, from a generator of its own.

    Args:
        seed: Equal seeds give equal numbers.
        books: Codes per frame.
        ids: Size of the vocabulary.
        device: Where the numbers are drawn.
    """

    def __init__(self, seed: int, books: int, ids: int, device: torch.device) -> None:
        import torch

        self._generator = torch.Generator(device).manual_seed(seed)
        self._noise = torch.ones(books, ids, device=device)

    def draw(self) -> Tensor:
        """Return the noise of the next frame, `(books, ids)`. The next call overwrites it."""
        for row in self._noise:  # one by one, as `torch.multinomial` does
            row.exponential_(generator=self._generator)
        return self._noise

    def skip(self) -> Tensor:
        """Return noise that is not used, for greedy selection."""
        return self._noise
