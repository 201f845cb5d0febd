"""What happens to a cache of keys and values when a conversation outgrows it: the oldest leave, the rest may move back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.streaming.context_window import Eviction

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["apply", "held_bytes", "turn_back"]


def apply(change: Eviction, cache: Any, rotary: Any) -> None:
    """Do what a `Window` decided. cache: a `DynamicCache`.   rotary: the model's rotary embedding."""
    import torch

    if change.drop:
        gone = change.first + change.drop
        for layer in cache.layers:
            layer.keys = torch.cat([layer.keys[..., : change.first, :], layer.keys[..., gone:, :]], -2)
            layer.values = torch.cat([layer.values[..., : change.first, :], layer.values[..., gone:, :]], -2)
    if change.back:
        for layer in cache.layers:
            moved = turn_back(layer.keys[..., change.first :, :], change.back, rotary.inv_freq)
            layer.keys = torch.cat([layer.keys[..., : change.first, :], moved], -2)


def turn_back(keys: Tensor, positions: int, inv_freq: Tensor) -> Tensor:
    """Keys `(..., n, dim)` as they would be `positions` earlier. In float64, rounded once.

    For rotary embeddings of plain counts; Qwen3-Omni's three-row kind is one when the rows are equal, as they are without pictures.
    """
    import torch

    angle = positions * inv_freq.to(keys.device).double()
    angle = torch.cat([angle, angle])
    wide = keys.double()
    one, other = wide.chunk(2, -1)
    turned = wide * angle.cos() + torch.cat([other, -one], -1) * angle.sin()
    return turned.to(keys.dtype)


def held_bytes(cache: Any) -> int:
    """Bytes of its keys and values."""
    return sum(
        tensor.numel() * tensor.element_size()
        for layer in cache.layers
        if layer.is_initialized
        for tensor in (layer.keys, layer.values)
    )
