"""Attention with rotary position embeddings, written out over the projections of the library's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["attend", "heads", "rotate", "rotations"]


def heads(part: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries, rotated keys and values, each `(b, heads, n, dim)`, of an attention module's input `(b, n, dim)`."""
    shape = (*hidden.shape[:-1], -1, part.head_dim)
    query = part.q_norm(part.q_proj(hidden).view(shape)).transpose(1, 2)
    key = part.k_norm(part.k_proj(hidden).view(shape)).transpose(1, 2)
    return rotate(query, cos, sin), rotate(key, cos, sin), part.v_proj(hidden).view(shape).transpose(1, 2)


def attend(query: Tensor, keys: Tensor, values: Tensor, sees: Tensor | None, scale: float) -> Tensor:
    """Attention, `(b, n, heads · dim)`. Queries that share a key's head are rows of it, so keys are never copied for them.

    sees: `(b, n, s)`, or None when every row sees every key.
    """
    import torch

    b, many, n, dim = query.shape
    few = keys.shape[1]
    group = many // few
    rows = query.reshape(b, few, group * n, dim)
    mask = None if sees is None else sees[:, None, None].expand(b, 1, group, n, -1).reshape(b, 1, group * n, -1)
    out = torch.nn.functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scale)
    return out.view(b, many, n, dim).transpose(1, 2).reshape(b, n, many * dim)


def rotations(rotary: Any, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for `rotate`, `(b, 1, n, dim)`. Three-row positions whose rows are equal are plain counts."""
    import torch

    angle = positions[..., None].float() * rotary.inv_freq.to(positions.device).float()
    angle = torch.cat([angle, angle], -1)[:, None]
    scale = rotary.attention_scaling
    return (angle.cos() * scale).to(like.dtype), (angle.sin() * scale).to(like.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of `(b, heads, n, dim)`."""
    import torch

    one, other = x.chunk(2, -1)
    return x * cos + torch.cat([-other, one], -1) * sin
