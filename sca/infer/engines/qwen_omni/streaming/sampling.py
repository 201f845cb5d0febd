"""Select an id from logits: the most likely one, or a sample of the most likely ones.

The random numbers are generated on the CPU per session, so that they need no GPU synchronisation, and sessions that are
stepped together draw the same ids as alone. The options of the text are tensors, one row for each session, and not
constants of a graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sca.config import QwenConfig
from sca.config.sections.qwen import MAX_TEXT_TOP_K

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["REPEATED", "TEXT_OPTIONS", "Sampler", "SamplingNoise", "TextState", "choose_text", "sample"]

REPEATED = 128
"""Number of text tokens that the repetition penalty covers."""

TEXT_OPTIONS = 5
"""Columns of the options of the text: temperature, top-p, top-k, repetition penalty, bias of silence."""

_TEXT_STREAM = 1  # other random numbers than the talker: options of text do not change its samples


class SamplingNoise:
    """Uniform float32 numbers in [0, 1). Equal seeds give equal numbers, drawn one by one or many at a time."""

    def __init__(self, seed: int | Sequence[int]) -> None:
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
    best = logits.topk(min(top_k, logits.shape[-1]))
    below = (best.values.float() / temperature).softmax(-1).cumsum(-1)
    place = (below <= noise * below[:, -1:]).sum(-1, keepdim=True).clamp(max=below.shape[-1] - 1)
    return best.indices.gather(-1, place)


class Sampler:
    """`sample` with the random numbers of one session."""

    def __init__(self, temperature: float, top_k: int, seed: int) -> None:
        self._temperature, self._top_k = temperature, top_k
        self._noise = SamplingNoise(seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the selected id `(1, 1)` of logits `(1, n)`."""
        import torch

        return sample(
            logits, self._temperature, self._top_k, torch.from_numpy(self._noise.draw(1, 1)).to(logits.device)
        )

    def skip(self, count: int) -> None:
        """Discard random numbers, of ids that are not selected."""
        self._noise.draw(count)


class TextState:
    """What the choice of the text of one session depends on besides the logits: options, random numbers, recent tokens.

    Attributes:
        options: The options, float32 `(5,)`; see `TEXT_OPTIONS`.
    """

    def __init__(self, qwen: QwenConfig, unused: int) -> None:
        """Create the state.

        Args:
            qwen: The settings of the session.
            unused: A token that is never chosen. It fills the list of recent tokens.
        """
        self.options = np.array(
            [
                qwen.text_temperature,
                qwen.text_top_p,
                qwen.text_top_k,
                qwen.text_repetition_penalty,
                qwen.silence_bias,
            ],
            np.float32,
        )
        self._noise = SamplingNoise((qwen.seed, _TEXT_STREAM))
        self._recent = deque([unused] * REPEATED, REPEATED)

    @property
    def recent(self) -> np.ndarray:
        """The last text tokens, int64 `(128,)`."""
        return np.array(self._recent, np.int64)

    def draw(self, count: int) -> np.ndarray:
        """Return the random numbers of a chunk, float32 `(count,)`."""
        return self._noise.draw(count)

    def tensors(self, count: int, device: torch.device) -> list[Tensor]:
        """Return options, recent tokens and the random numbers of a chunk, `(1, n)` each."""
        import torch

        return [torch.from_numpy(one)[None].to(device) for one in (self.options, self.recent, self.draw(count))]

    def note(self, text: Sequence[int]) -> None:
        """Add the text tokens of a chunk."""
        self._recent.extend(text)


def choose_text(
    logits: Tensor, barred: Tensor, options: Tensor, recent: Tensor, noise: Tensor, silence: int | None
) -> Tensor:
    """Select the next token of each session.

    The order is that of the library: repetition penalty (Keskar et al., arXiv 1909.05858), temperature, top-k, top-p.

    Args:
        logits: `(b, vocabulary)`.
        barred: Tokens that are not allowed, bool `(b, vocabulary)`.
        options: `(b, 5)`; see `TEXT_OPTIONS`.
        recent: Tokens that are penalised, int64 `(b, n)`; a token may occur several times.
        noise: Uniform random numbers in [0, 1), `(b, 1)`.
        silence: The token that the bias is added to; None for no bias.

    Returns:
        The tokens, `(b, 1)`.
    """
    import torch

    scores = logits if logits.dtype == torch.float64 else logits.float()
    temperature, top_p, top_k, penalty, bias = options.to(scores.dtype).split(1, 1)
    known = scores.gather(1, recent)
    scores = scores.scatter(1, recent, torch.where(known > 0, known / penalty, known * penalty))
    if silence is not None:
        scores[:, silence] += bias[:, 0]
    scores = scores.masked_fill(barred, float("-inf"))
    likely = scores.argmax(-1, keepdim=True)
    if options.device.type == "cpu" and not bool((options[:, 0] > 0).any()):
        return likely  # the search for the most likely tokens takes a millisecond on a CPU
    best = scores.topk(min(MAX_TEXT_TOP_K, scores.shape[-1]))
    place = torch.arange(best.values.shape[-1], device=scores.device)
    chances = best.values / temperature.clamp(min=1e-6)
    chances = chances.masked_fill(place >= top_k, float("-inf")).softmax(-1)
    chances = chances.masked_fill(chances.cumsum(-1) - chances >= top_p, 0)
    below = chances.cumsum(-1)
    last = (chances > 0).sum(-1, keepdim=True) - 1
    drawn = torch.minimum((below <= noise.to(below.dtype) * below[:, -1:]).sum(-1, keepdim=True), last)
    return torch.where(temperature > 0, best.indices.gather(-1, drawn), likely)
