"""A stack of attention layers over slots: each session has a row of every cache, with its own length and positions.

Used for the thinker and the talker, which have the same kind of layers. The modules of the layers are those of the
library. The cache is our own, because the static cache of the library has one length for all rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
from sca.infer.engines.qwen_omni.streaming.context_window import Eviction
from sca.infer.engines.qwen_omni.streaming.kv_cache import rotate_back

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["Decoder", "SlotCache"]


class SlotCache:
    """Keys and values, `(slots, heads, room + 1, dim)` per layer. The last cell receives unused rows and is never attended to.

    Attributes:
        room: Number of usable cells.
        trash: Index of the last cell.
    """

    def __init__(self, config: PretrainedConfig, slots: int, room: int, like: Tensor) -> None:
        import torch

        self.room = self.trash = room
        shape = (slots, config.num_key_value_heads, room + 1, _head_dim(config))
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in layers]
        self.values = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in layers]

    @property
    def held_bytes(self) -> int:
        """Size of all slots, in bytes."""
        return sum(2 * int(one.numel()) * int(one.element_size()) for one in self.keys)

    def apply(self, slot: int, change: Eviction, length: int, inv_freq: Tensor) -> None:
        """Apply an eviction to a slot.

        Args:
            slot: The slot.
            change: The eviction.
            length: Number of tokens in the slot before it.
            inv_freq: The inverse frequencies of the rotary embedding.
        """
        first, end = change.first, change.first + change.drop
        for cache in (*self.keys, *self.values):
            row = cache[slot]
            if change.drop:
                row[:, first : length - change.drop] = row[:, end:length].clone()
        if change.back:
            for keys in self.keys:
                moved = keys[slot, :, first : length - change.drop]
                moved.copy_(rotate_back(moved, change.back, inv_freq))


class Decoder:
    """The layers of a model over a `SlotCache`."""

    def __init__(self, model: Module, cache: SlotCache) -> None:
        self.layers, self.norm, self.rotary, self.cache = model.layers, model.norm, model.rotary_emb, cache

    def __call__(
        self, embeds: Tensor, places: Tensor, positions: Tensor, span: int, layer: int = 0, first_slot: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Run the layers.

        Args:
            embeds: The input of the slots from `first_slot` on, `(b, n, dim)`.
            places: The cell of each row, `(b, n)`.
            positions: The position of each row, `(b, n)`.
            span: Number of cells that attention covers; a row attends to those up to its own.
            layer: The layer to return: 0 is the input, the last one is after the norm.
            first_slot: The first slot.

        Returns:
            The final output and that of `layer`, both `(b, n, dim)`.
        """
        import torch

        b = embeds.shape[0]
        slots = slice(first_slot, first_slot + b)
        visible = torch.arange(span, device=embeds.device) <= places[..., None]  # (b, n, span)
        cos, sin = rotations(self.rotary, positions, embeds)
        hidden, selected = embeds, embeds
        for i, block in enumerate(self.layers):
            keys, values = self.cache.keys[i][slots], self.cache.values[i][slots]
            part = block.self_attn
            query, key, value = heads(part, block.input_layernorm(hidden), cos, sin)
            where = places[:, None, :, None].expand_as(key)
            keys.scatter_(2, where, key)
            values.scatter_(2, where, value)
            attended = attend(query, keys[:, :, :span], values[:, :, :span], visible, part.scaling)
            hidden = hidden + part.o_proj(attended)
            hidden = hidden + block.mlp(block.post_attention_layernorm(hidden))
            if i + 1 == layer:
                selected = hidden
        last = self.norm(hidden)
        return last, last if layer == len(self.layers) else selected


def _head_dim(config: PretrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
