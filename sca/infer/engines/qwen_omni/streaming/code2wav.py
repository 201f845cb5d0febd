"""The vocoder as a stream: codes in, exactly the samples that decoding all of them at once would give.

Its transformer keeps a cache (a sliding window, so it does not grow); its convolutions are computed again over the last ten frames,
which is as far back as they see. Transposed convolutions also look 555 samples ahead, so the first push is shorter by as much.
Positions count frames and would run out after minutes; then the cached window moves back to where they begin.

The same numbers in another order round differently, and the convolutions make that louder. So the transformer is given rows and
cells in the shapes in which decoding everything at once has them: on a CPU every frame then comes out the same to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
from sca.infer.engines.qwen_omni.streaming.kv_cache import turn_back

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CONTEXT_FRAMES", "Code2WavStream"]


CONTEXT_FRAMES = 10
"""Frames before a new one that its convolutions still hear: with 9 the wave differs by 7e-9, with 10 by nothing."""

_ROWS = 16
"""Fewer rows than a kernel takes at once it multiplies in another order: as many are always given, empty after the last."""
_CELLS = 512
"""Attention takes so many keys at a time, from the first frame on: what is left of them stands where it would stand among all."""
_FRAMES = 24
"""For shorter pieces other convolutions are chosen: they are as long at least, empty after the last frame."""


class Code2WavStream:
    """One session's vocoder. positions: how many it counts before it begins anew; the model's own if not given."""

    def __init__(self, code2wav: Any, positions: int | None = None) -> None:
        import torch

        self._model = code2wav
        config, layers = code2wav.config, code2wav.pre_transformer.layers
        shape = (1, config.num_key_value_heads, 0, layers[0].self_attn.head_dim)
        weights = [block.input_layernorm.weight for block in layers]  # a device map may spread the layers
        self._window = int(config.sliding_window)
        self._keys, self._values = (
            [torch.zeros(shape, dtype=one.dtype, device=one.device) for one in weights] for _ in range(2)
        )
        self._samples_per_frame = int(code2wav.total_upsample)
        self._context: Tensor = None  # the transformer's output for the last frames, (1, n, dim)
        self._positions = int(code2wav.config.max_position_embeddings) if positions is None else positions
        self._position = 0  # of the next frame
        self._held = 0  # samples that were emitted of the frames in `_context`

    @property
    def held_bytes(self) -> int:
        """Bytes of keys and values in its cache."""
        return sum(one.numel() * one.element_size() for one in (*self._keys, *self._values))

    def push(self, codes: Tensor) -> Tensor:
        """Take codes `(1, 16, n)`; returns the samples that are now certain, `(1, 1, m)`: 1920 n, less 555 the first time."""
        import torch

        model = self._model
        n = codes.shape[-1]
        if self._position + n > self._positions:
            self._begin_anew()
        hidden = model.code_embedding(codes + model.code_offset).mean(1)
        hidden = self._transform(hidden)
        self._position += n
        known = hidden if self._context is None else torch.cat([self._context, hidden], 1)
        empty = max(0, _FRAMES - known.shape[1])
        wave = torch.nn.functional.pad(known, (0, 0, 0, empty)).permute(0, 2, 1)
        for blocks in (*model.upsample, model.decoder):
            for block in blocks:
                wave = block(wave)
        certain = wave.shape[-1] - empty * self._samples_per_frame
        fresh = wave.clamp(-1, 1)[..., self._held : certain]
        self._context = known[:, -CONTEXT_FRAMES:]
        self._held = certain - (known.shape[1] - self._context.shape[1]) * self._samples_per_frame
        return fresh

    def _transform(self, hidden: Tensor) -> Tensor:
        """The transformer's output for frames `(1, n, dim)`, whose keys and values it keeps."""
        import torch

        functional, transformer = torch.nn.functional, self._model.pre_transformer
        n, held = hidden.shape[1], self._keys[0].shape[2]
        rows = -(-n // _ROWS) * _ROWS
        before = (self._position - held) % _CELLS  # cells of frames that have left
        own = before + held + torch.arange(rows, device=hidden.device)[:, None]
        cell = torch.arange(before + held + rows, device=hidden.device)
        sees = ((cell <= own) & (cell > own - self._window) & (cell >= before))[None]
        places = torch.arange(self._position, self._position + rows, device=hidden.device)[None]
        states = functional.pad(hidden, (0, 0, 0, rows - n))
        cos, sin = rotations(transformer.rotary_emb, places, states)
        for i, block in enumerate(transformer.layers):
            part, device = block.self_attn, self._keys[i].device
            states, cos, sin, sees = (one.to(device) for one in (states, cos, sin, sees))
            query, key, value = heads(part, block.input_layernorm(states), cos, sin)
            keys = torch.cat([self._keys[i], key[:, :, :n]], 2)
            values = torch.cat([self._values[i], value[:, :, :n]], 2)
            self._keys[i], self._values[i] = (one[:, :, -(self._window - 1) :] for one in (keys, values))
            around = (0, 0, before, rows - n)
            seen = attend(query, functional.pad(keys, around), functional.pad(values, around), sees, part.scaling)
            states = states + block.self_attn_layer_scale(part.o_proj(seen))
            states = states + block.mlp_layer_scale(block.mlp(block.post_attention_layernorm(states)))
        return transformer.norm(states)[:, :n]

    def _begin_anew(self) -> None:
        held = self._keys[0].shape[2]
        inv_freq = self._model.pre_transformer.rotary_emb.inv_freq
        self._keys = [turn_back(keys, self._position - held, inv_freq) for keys in self._keys]
        self._position = held
