"""The vocoder as a stream. Its output equals that of decoding all codes at once, sample for sample.

The transformer has a cache, a sliding window that does not grow. The convolutions are computed again over the last ten
frames, which is their receptive field. Transposed convolutions also look 555 samples ahead, so the first output is
shorter by 555 samples. Positions count frames and run out after minutes; the cached window then moves back to the first
positions.

Sums in another order round differently, and the convolutions amplify the difference. The transformer therefore receives
rows and keys in the shapes that they have when everything is decoded at once; on a CPU every frame is then identical to
the last bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.kv_cache import rotate_back

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["CONTEXT_FRAMES", "Code2WavStream", "look_ahead"]


CONTEXT_FRAMES = 10
"""Receptive field of the convolutions in frames before a new one: with 9 the wave differs by 7e-9, with 10 it is identical."""

_ROWS = 16
"""A kernel multiplies fewer rows than this in another order, so there are always as many; unused rows are empty."""
_CELLS = 512
"""Attention processes this many keys at a time from the first frame on, so the kept keys stay at their place in such a block."""
_FRAMES = 24
"""Shorter inputs select other convolution kernels, so inputs are at least this long; unused frames are empty."""


def look_ahead(code2wav: Module) -> int:
    """Return how many samples the vocoder looks ahead: each transposed convolution trims one stride at the end."""
    rates = [int(rate) for rate in code2wav.config.upsample_rates]
    return sum(math.prod(rates[i:]) for i in range(len(rates)))


class Code2WavStream:
    """The vocoder of one session."""

    def __init__(self, code2wav: Module, positions: int | None = None) -> None:
        """Create the stream.

        Args:
            code2wav: The vocoder of the model.
            positions: Number of positions before the window moves back; None for that of the model.
        """
        import torch

        self._model = code2wav
        config, layers = code2wav.config, code2wav.pre_transformer.layers
        shape = (1, config.num_key_value_heads, 0, layers[0].self_attn.head_dim)
        self._device = device_of(code2wav.code_embedding)
        devices = [device_of(block.input_layernorm) for block in layers]  # a device map may spread the layers
        dtype = layers[0].input_layernorm.weight.dtype
        self._window = int(config.sliding_window)
        self._keys, self._values = (
            [torch.zeros(shape, dtype=dtype, device=device) for device in devices] for _ in range(2)
        )
        self._samples_per_frame = int(code2wav.total_upsample)
        self._context: Tensor = None  # output of the transformer for the last frames, (1, n, dim)
        self._positions = int(code2wav.config.max_position_embeddings) if positions is None else positions
        self._position = 0  # position of the next frame
        self._held = 0  # samples of the frames in `_context` that were returned already

    @property
    def held_bytes(self) -> int:
        """Size of the keys and values in its cache, in bytes."""
        return sum(one.numel() * one.element_size() for one in (*self._keys, *self._values))

    def push(self, codes: Tensor) -> Tensor:
        """Decode codes.

        Args:
            codes: `(1, 16, n)`.

        Returns:
            The samples that are final, `(1, 1, m)`: 1920 n, and 555 fewer the first time.
        """
        import torch

        model = self._model
        n = codes.shape[-1]
        if self._position + n > self._positions:
            self._move_back()
        codes = codes.to(self._device)
        hidden = model.code_embedding(codes + model.code_offset.to(self._device)).mean(1)
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
        """Run the transformer over frames `(1, n, dim)`, and store their keys and values."""
        import torch

        functional, transformer = torch.nn.functional, self._model.pre_transformer
        n, held = hidden.shape[1], self._keys[0].shape[2]
        rows = -(-n // _ROWS) * _ROWS
        before = (self._position - held) % _CELLS  # places of frames that were dropped
        own = before + held + torch.arange(rows, device=hidden.device)[:, None]
        cell = torch.arange(before + held + rows, device=hidden.device)
        sees = ((cell <= own) & (cell > own - self._window) & (cell >= before))[
            None, None
        ]  # every head has its own keys
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

    def _move_back(self) -> None:
        held = self._keys[0].shape[2]
        inv_freq = self._model.pre_transformer.rotary_emb.inv_freq
        self._keys = [rotate_back(keys, self._position - held, inv_freq) for keys in self._keys]
        self._position = held
