"""Drop the oldest entries of a key/value cache, and move the rest to earlier positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.streaming.context_window import Eviction

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import Cache

__all__ = ["apply", "held_bytes", "rotate_back"]


def apply(change: Eviction, cache: Cache, rotary: Module) -> None:
    """Apply an eviction to a cache.

    Args:
        change: The eviction.
        cache: The `DynamicCache` of transformers.
        rotary: The rotary embedding of the model.
    """
    import torch

    if change.drop:
        end = change.first + change.drop
        for layer in cache.layers:
            layer.keys = torch.cat([layer.keys[..., : change.first, :], layer.keys[..., end:, :]], -2)
            layer.values = torch.cat([layer.values[..., : change.first, :], layer.values[..., end:, :]], -2)
    if change.back:
        for layer in cache.layers:
            moved = rotate_back(layer.keys[..., change.first :, :], change.back, rotary.inv_freq)
            layer.keys = torch.cat([layer.keys[..., : change.first, :], moved], -2)


def rotate_back(keys: Tensor, positions: int, inv_freq: Tensor) -> Tensor:
    """Rotate keys to earlier positions, in float64, rounded once.

    For rotary embeddings with one position per token. The three-row positions of Qwen3-Omni are equal without images.

    Args:
        keys: `(..., n, dim)`.
        positions: How many positions to move back.
        inv_freq: The inverse frequencies of the rotary embedding, `(dim / 2,)`.
    """
    import torch

    angle = positions * inv_freq.to(keys.device).double()
    angle = torch.cat([angle, angle])
    wide = keys.double()
    left, right = wide.chunk(2, -1)
    rotated = wide * angle.cos() + torch.cat([right, -left], -1) * angle.sin()
    return rotated.to(keys.dtype)


def held_bytes(cache: Cache) -> int:
    """Return the size of the keys and values, in bytes."""
    return sum(
        tensor.numel() * tensor.element_size()
        for layer in cache.layers
        if layer.is_initialized
        for tensor in (layer.keys, layer.values)
    )
