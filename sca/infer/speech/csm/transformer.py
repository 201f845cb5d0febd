"""A stack of CSM's decoder layers with a key/value cache of fixed size, written out over the modules of transformers.

Cells of the cache are positions of the text. Nothing is allocated or resized, so a step can be captured as a CUDA graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["CachedStack"]


class CachedStack:
    """The layers of a `CsmBackboneModel` or `CsmDepthDecoderModel`, for one sequence.

    Args:
        model: The model, with `layers`, `norm` and `rotary_emb`.
        cells: The most positions.
    """

    def __init__(self, model: Module, cells: int) -> None:
        import torch

        first = model.layers[0]
        weight = first.input_layernorm.weight
        shape = (1, model.config.num_key_value_heads, cells, first.self_attn.head_dim)
        self._model = model
        self._keys, self._values = (
            [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in model.layers] for _ in range(2)
        )
        self._cells = torch.arange(cells, device=weight.device)
        # Of every position, once: a captured graph must not compute them from numbers of the host.
        angle = self._cells[:, None].float() * model.rotary_emb.inv_freq.to(weight.device).float()
        angle, scale = torch.cat([angle, angle], -1), model.rotary_emb.attention_scaling
        self._cos, self._sin = ((wave * scale).to(weight.dtype) for wave in (angle.cos(), angle.sin()))

    def __call__(self, hidden: Tensor, positions: Tensor, span: int) -> Tensor:
        """Return the normalised output of some positions, and store their keys and values.

        Args:
            hidden: `(1, n, dim)`.
            positions: Their positions, int64 `(n,)`, ascending.
            span: Attention covers the first `span` cells; at least the last position + 1.

        Returns:
            `(1, n, dim)`.
        """
        visible = self._cells[:span] <= positions[:, None]
        cos, sin = self._cos[positions], self._sin[positions]
        for index, layer in enumerate(self._model.layers):
            hidden = hidden + self._attend(index, layer.input_layernorm(hidden), positions, (cos, sin), visible)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        normed: Tensor = self._model.norm(hidden)
        return normed

    def _attend(
        self, index: int, hidden: Tensor, positions: Tensor, waves: tuple[Tensor, Tensor], visible: Tensor
    ) -> Tensor:
        import torch

        part, span = self._model.layers[index].self_attn, visible.shape[-1]
        shape = (1, hidden.shape[1], -1, part.head_dim)
        query, key, value = (one(hidden).view(shape).transpose(1, 2) for one in (part.q_proj, part.k_proj, part.v_proj))
        keys, values = self._keys[index], self._values[index]
        keys.index_copy_(2, positions, _rotated(key, *waves))
        values.index_copy_(2, positions, value)
        seen = torch.nn.functional.scaled_dot_product_attention(
            _rotated(query, *waves),
            keys[:, :, :span],
            values[:, :, :span],
            attn_mask=visible,
            scale=part.scaling,
            enable_gqa=True,
        )
        out: Tensor = part.o_proj(seen.transpose(1, 2).reshape(1, hidden.shape[1], -1))
        return out


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    import torch

    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin
