"""The audio encoder for batches of chunks of one length, without host synchronisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["encode", "tokens_of"]


def tokens_of(tower: Module, mel_frames: int) -> int | None:
    """Return the number of audio tokens of a chunk (three strides of two), or None if the encoder would split the chunk."""
    if mel_frames > 2 * tower.n_window:
        return None
    for _ in range(3):
        mel_frames = -(-mel_frames // 2)
    return mel_frames


def encode(tower: Module, features: Tensor) -> Tensor:
    """Encode log-mel `(b, bins, frames)` as audio tokens `(b, n, dim)`. The chunks do not influence each other."""
    import torch

    functional = torch.nn.functional
    wide = features[:, None].to(tower.conv2d1.weight.dtype)
    for conv in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
        wide = functional.gelu(conv(wide))
    b, channels, bins, n = wide.shape
    hidden = tower.conv_out(wide.permute(0, 3, 1, 2).reshape(b, n, channels * bins))
    hidden = hidden + tower.positional_embedding.positional_embedding[:n].to(hidden.dtype)
    for layer in tower.layers:
        part = layer.self_attn
        normed = layer.self_attn_layer_norm(hidden)
        query, key, value = (
            project(normed).view(b, n, part.num_heads, -1).transpose(1, 2)
            for project in (part.q_proj, part.k_proj, part.v_proj)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, scale=part.scaling)
        hidden = hidden + part.out_proj(attended.transpose(1, 2).reshape(b, n, -1))
        hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
        if hidden.dtype == torch.float16:  # as in the library, so that the values stay finite
            most = torch.finfo(torch.float16).max - 1000
            hidden = hidden.clamp(-most, most)
    return tower.proj2(tower.act(tower.proj1(tower.ln_post(hidden))))
