"""Attention with rotary position embeddings, written out over the projections of the library's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["attend", "heads", "rotate", "rotations"]


def heads(part: Module, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project the input `(b, n, dim)` of an attention module to rotated queries, rotated keys and values: `(b, heads, n, dim)`."""
    shape = (*hidden.shape[:-1], -1, part.head_dim)
    query = part.q_norm(part.q_proj(hidden).view(shape)).transpose(1, 2)
    key = part.k_norm(part.k_proj(hidden).view(shape)).transpose(1, 2)
    return rotate(query, cos, sin), rotate(key, cos, sin), part.v_proj(hidden).view(shape).transpose(1, 2)


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Compute grouped-query attention. Queries of one group become rows of their key head, so keys are not copied.

    Args:
        query: `(b, heads, n, dim)`.
        keys: `(b, key heads, s, dim)`.
        values: `(b, key heads, s, dim)`.
        mask: The keys that each row attends to, `(b, 1, rows, s)`, where a key head has `heads / key heads · n` rows,
            those of each query head one after the other: bool, or 0 and minus infinity. None for all.
        scale: Factor of the scores.

    Returns:
        `(b, n, heads · dim)`.
    """
    import torch

    b, many, n, dim = query.shape
    few = keys.shape[1]
    group = many // few
    rows = query.reshape(b, few, group * n, dim)
    out = torch.nn.functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scale)
    return out.view(b, many, n, dim).transpose(1, 2).reshape(b, n, many * dim)


def rotations(rotary: Module, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines for `rotate`, `(b, 1, n, dim)`.

    Args:
        rotary: The rotary embedding of the library.
        positions: `(b, n)`. Three-row positions with equal rows need only one of them.
        like: A tensor of the wanted dtype.
    """
    import torch

    angle = positions[..., None].float() * rotary.inv_freq.to(positions.device).float()
    angle = torch.cat([angle, angle], -1)[:, None]
    scale = rotary.attention_scaling
    return (angle.cos() * scale).to(like.dtype), (angle.sin() * scale).to(like.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary embedding to `(b, heads, n, dim)`."""
    import torch

    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin
