"""The vocoder as a stream: codes in, exactly the samples that decoding all of them at once would give.

Its transformer keeps a cache (a sliding window, so it does not grow); its convolutions are computed again over the last ten frames,
which is as far back as they see. Transposed convolutions also look 555 samples ahead, so the first push is shorter by as much.
Positions count frames and would run out after minutes; then the cached window moves back to where they begin.
"""

from typing import Any

from sca.infer.engines.qwen_omni.cache import held_bytes, turn_back

__all__ = ["CONTEXT_FRAMES", "Code2WavStream"]

Tensor = Any  # torch's, which is imported on use

CONTEXT_FRAMES = 10
"""Frames before a new one that its convolutions still hear: with 9 the wave differs by 7e-9, with 10 by nothing."""


class Code2WavStream:
    """One session's vocoder. positions: how many it counts before it begins anew; the model's own if not given."""

    def __init__(self, code2wav: Any, positions: int | None = None) -> None:
        from transformers import DynamicCache

        self._model = code2wav
        self._cache = DynamicCache(config=code2wav.config)
        self._samples_per_frame = int(code2wav.total_upsample)
        self._context: Tensor = None  # the transformer's output for the last frames, (1, n, dim)
        self._positions = int(code2wav.config.max_position_embeddings) if positions is None else positions
        self._position = 0  # of the next frame
        self._held = 0  # samples that were emitted of the frames in `_context`

    @property
    def held_bytes(self) -> int:
        """Bytes of keys and values in its cache."""
        return held_bytes(self._cache)

    def push(self, codes: Tensor) -> Tensor:
        """Take codes `(1, 16, n)`; returns the samples that are now certain, `(1, 1, m)`: 1920 n, less 555 the first time."""
        import torch

        model = self._model
        n = codes.shape[-1]
        if self._position + n > self._positions:
            self._begin_anew()
        hidden = model.code_embedding(codes + model.code_offset).mean(1)
        places = torch.arange(self._position, self._position + n, device=hidden.device)[None]
        hidden = model.pre_transformer(
            inputs_embeds=hidden, past_key_values=self._cache, position_ids=places, use_cache=True
        ).last_hidden_state
        self._position += n
        known = hidden if self._context is None else torch.cat([self._context, hidden], 1)
        wave = known.permute(0, 2, 1)
        for blocks in (*model.upsample, model.decoder):
            for block in blocks:
                wave = block(wave)
        fresh = wave.clamp(-1, 1)[..., self._held :]
        self._context = known[:, -CONTEXT_FRAMES:]
        self._held = wave.shape[-1] - (known.shape[1] - self._context.shape[1]) * self._samples_per_frame
        return fresh

    def _begin_anew(self) -> None:
        layers = self._cache.layers
        held = layers[0].keys.shape[-2]
        for layer in layers:
            layer.keys = turn_back(layer.keys, self._position - held, self._model.pre_transformer.rotary_emb.inv_freq)
        self._position = held
