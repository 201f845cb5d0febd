"""A stack of attention layers over slots: each session has a row of every cache, its own length and its own positions.

Serves the thinker and the talker, whose layers have the same parts. The layers' modules are the library's; what is ours is where
keys and values go and who may see them, because the library's static cache knows one length for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
from sca.infer.engines.qwen_omni.streaming.context_window import Eviction
from sca.infer.engines.qwen_omni.streaming.kv_cache import turn_back

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Decoder", "SlotCache"]


class SlotCache:
    """Keys and values, `(slots, heads, room + 1, dim)` a layer. The last cell takes what counts for nothing, and is never seen.

    trash: its place.
    """

    def __init__(self, config: Any, slots: int, room: int, like: Tensor) -> None:
        import torch

        self.room = self.trash = room
        shape = (slots, config.num_key_value_heads, room + 1, _head_dim(config))
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in layers]
        self.values = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in layers]

    @property
    def held_bytes(self) -> int:
        """Bytes of all slots."""
        return sum(2 * int(one.numel()) * int(one.element_size()) for one in self.keys)

    def apply(self, slot: int, change: Eviction, length: int, inv_freq: Tensor) -> None:
        """Do to a slot what a `Window` decided. length: tokens in the slot before."""
        kept, gone = change.first, change.first + change.drop
        for cache in (*self.keys, *self.values):
            row = cache[slot]
            if change.drop:
                row[:, kept : length - change.drop] = row[:, gone:length].clone()
        if change.back:
            for keys in self.keys:
                moved = keys[slot, :, kept : length - change.drop]
                moved.copy_(turn_back(moved, change.back, inv_freq))


class Decoder:
    """layers, norm, rotary: the library's modules.   cache: of as many layers."""

    def __init__(self, model: Any, cache: SlotCache) -> None:
        self.layers, self.norm, self.rotary, self.cache = model.layers, model.norm, model.rotary_emb, cache

    def __call__(
        self, embeds: Tensor, places: Tensor, positions: Tensor, span: int, layer: int = 0, first_slot: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Take `(b, n, dim)` for the slots from `first_slot` on; returns what comes out last, and out of `layer`, `(b, n, dim)`.

        places: the cell of each row, `(b, n)`.   positions: what it is rotated by, `(b, n)`.   span: cells that can be seen; a row
        sees those up to its own.   layer: 0 is what goes in, the last is after the norm.
        """
        import torch

        b = embeds.shape[0]
        slots = slice(first_slot, first_slot + b)
        sees = torch.arange(span, device=embeds.device) <= places[..., None]  # (b, n, span)
        cos, sin = rotations(self.rotary, positions, embeds)
        hidden, kept = embeds, embeds
        for i, block in enumerate(self.layers):
            keys, values = self.cache.keys[i][slots], self.cache.values[i][slots]
            part = block.self_attn
            query, key, value = heads(part, block.input_layernorm(hidden), cos, sin)
            where = places[:, None, :, None].expand_as(key)
            keys.scatter_(2, where, key)
            values.scatter_(2, where, value)
            seen = attend(query, keys[:, :, :span], values[:, :, :span], sees, part.scaling)
            hidden = hidden + part.o_proj(seen)
            hidden = hidden + block.mlp(block.post_attention_layernorm(hidden))
            if i + 1 == layer:
                kept = hidden
        last = self.norm(hidden)
        return last, last if layer == len(self.layers) else kept


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
