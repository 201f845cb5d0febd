"""The vocoder as a stream: codes in, exactly the samples that decoding all of them at once would give.

Its transformer keeps a cache (a sliding window, so it does not grow); its convolutions are computed again over the last ten frames,
which is as far back as they see. Transposed convolutions also look 555 samples ahead, so the first push is shorter by as much.
"""

from typing import Any

__all__ = ["CONTEXT_FRAMES", "Code2WavStream"]

Tensor = Any  # torch's, which is imported on use

CONTEXT_FRAMES = 10
"""Frames before a new one that its convolutions still hear: with 9 the wave differs by 7e-9, with 10 by nothing."""


class Code2WavStream:
    """One session's vocoder."""

    def __init__(self, code2wav: Any) -> None:
        from transformers import DynamicCache

        self._model = code2wav
        self._cache = DynamicCache(config=code2wav.config)
        self._samples_per_frame = int(code2wav.total_upsample)
        self._context: Tensor = None  # the transformer's output for the last frames, (1, n, dim)
        self._frames = 0
        self._emitted = 0

    def push(self, codes: Tensor) -> Tensor:
        """Take codes `(1, 16, n)`; returns the samples that are now certain, `(1, 1, m)`: 1920 n, less 555 the first time."""
        import torch

        model = self._model
        n = codes.shape[-1]
        hidden = model.code_embedding(codes + model.code_offset).mean(1)
        places = torch.arange(self._frames, self._frames + n, device=hidden.device)[None]
        hidden = model.pre_transformer(
            inputs_embeds=hidden, past_key_values=self._cache, position_ids=places, use_cache=True
        ).last_hidden_state
        known = hidden if self._context is None else torch.cat([self._context, hidden], 1)
        self._frames += n
        first = (self._frames - known.shape[1]) * self._samples_per_frame
        wave = known.permute(0, 2, 1)
        for blocks in (*model.upsample, model.decoder):
            for block in blocks:
                wave = block(wave)
        wave = wave.clamp(-1, 1)
        fresh = wave[..., self._emitted - first :]
        self._emitted = first + wave.shape[-1]
        self._context = known[:, -CONTEXT_FRAMES:]
        return fresh
