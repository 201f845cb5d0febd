"""Mimi's decoder as a stream. Its output equals that of decoding all codes at once.

The transformer has a cache with its sliding window; the upsampler needs one earlier frame, and the convolutions, which
are computed again, four: their receptive field. Nothing looks ahead, so n frames give all their samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["CONTEXT_FRAMES", "MimiDecodeStream"]

CONTEXT_FRAMES = 4
"""Receptive field of the convolutions in frames before a new one."""

_STEPS = 2  # of the transformer per frame


class MimiDecodeStream:
    """The decoder for one speech.

    Args:
        codec: A `MimiModel`.
    """

    def __init__(self, codec: Module) -> None:
        self._codec, self._decoder = codec, codec.decoder
        self._samples = int(codec.config.sampling_rate / codec.config.frame_rate)
        self._cache: Any = None
        self._latent: Tensor | None = None  # of the last frame, (1, dim, 1)
        self._context: Tensor | None = None  # output of the transformer for the last frames, (1, dim, n)

    def push(self, codes: Tensor) -> Tensor:
        """Decode codes.

        Args:
            codes: Int64 `(1, books, n)`.

        Returns:
            The samples, `(n * 1920,)`.
        """
        import torch

        count, decoder = codes.shape[-1], self._decoder
        latents = self._codec.quantizer.decode(codes)
        known = latents if self._latent is None else torch.cat([self._latent, latents], -1)
        self._latent = latents[..., -1:]
        steps = decoder.upsample(known)[..., -_STEPS * count :]
        result = decoder.decoder_transformer(steps.transpose(1, 2), past_key_values=self._cache, use_cache=True)
        self._cache = result.past_key_values
        hidden = result.last_hidden_state.transpose(1, 2)
        hidden = hidden if self._context is None else torch.cat([self._context, hidden], -1)
        self._context = hidden[..., -_STEPS * CONTEXT_FRAMES :]
        wave: Tensor = decoder.decoder_seanet(hidden)[0, 0, -count * self._samples :]
        return wave
