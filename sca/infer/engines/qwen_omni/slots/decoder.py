"""A stack of attention layers over slots: each session has a row of every cache, with its own length and positions.

Used for the thinker and the talker, which have the same kind of layers. The weights are those of the modules of the
library. The cache is our own, because the static cache of the library has one length for all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.fused.attention import Heads, Norm, row_mask, turns
from sca.infer.engines.qwen_omni.slots.fused.mlp import add_mlp_of
from sca.infer.engines.qwen_omni.slots.fused.weights import add_product
from sca.infer.engines.qwen_omni.streaming.attention import attend
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
    """The layers of a model over a `SlotCache`. Rotations and masks are made once per call, for all layers."""

    def __init__(self, model: Module, cache: SlotCache) -> None:
        self.rotary, self.cache = model.rotary_emb, cache
        self._layers = [_Layer(block, *one) for block, *one in zip(model.layers, cache.keys, cache.values, strict=True)]
        self._norm = Norm(model.norm)
        heads = self._layers[0].heads
        self._group = heads.queries // heads.keys

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

        rows = _Rows(
            slots=slice(first_slot, first_slot + len(embeds)),
            places=places,
            span=span,
            mask=row_mask(places, span, self._group, embeds.dtype),
            matrix=turns(self.rotary, positions, embeds.dtype),
        )
        hidden, selected = embeds.clone(memory_format=torch.contiguous_format), embeds
        for i, block in enumerate(self._layers):
            block(hidden, rows)
            if i + 1 == layer:
                selected = hidden.clone()
        last = self._norm(hidden)
        return last, last if layer == len(self._layers) else selected


@dataclass(frozen=True, slots=True)
class _Rows:
    """What all layers of a call need; see `Decoder`, `row_mask` and `turns`."""

    slots: slice
    places: Tensor
    span: int
    mask: Tensor
    matrix: Tensor


class _Layer:
    """A layer with its keys and values, `(slots, heads, room + 1, dim)`. It adds its output to the hidden states."""

    def __init__(self, block: Module, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values
        self._norms = Norm(block.input_layernorm), Norm(block.post_attention_layernorm)
        self.heads, self._out = Heads(block.self_attn), block.self_attn.o_proj
        self._add_mlp = add_mlp_of(block.mlp)

    def __call__(self, hidden: Tensor, rows: _Rows) -> None:
        keys, values = self._keys[rows.slots], self._values[rows.slots]
        query, key, value = self.heads(self._norms[0](hidden), rows.matrix)
        where = rows.places[:, None, :, None].expand_as(key)
        keys.scatter_(2, where, key)
        values.scatter_(2, where, value)
        attended = attend(query, keys[:, :, : rows.span], values[:, :, : rows.span], rows.mask, self.heads.scale)
        add_product(hidden, self._out, attended)
        self._add_mlp(hidden.flatten(0, 1), self._norms[1](hidden).flatten(0, 1))


def _head_dim(config: PretrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
