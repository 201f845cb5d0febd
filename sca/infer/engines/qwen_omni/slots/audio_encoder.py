"""The audio tower for chunks of one length: each an item of a batch, with no lengths to look at and no lists to make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["hear", "tokens_of"]


def tokens_of(tower: Any, mel_frames: int) -> int | None:
    """Audio tokens of a chunk: three strides of two; None when the tower would cut it into pieces."""
    if mel_frames > 2 * tower.n_window:
        return None
    for _ in range(3):
        mel_frames = -(-mel_frames // 2)
    return mel_frames


def hear(tower: Any, features: Tensor) -> Tensor:
    """Log-mel `(b, bins, frames)` to audio tokens `(b, n, dim)`; a chunk hears nothing of the others."""
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
        heard = functional.scaled_dot_product_attention(query, key, value, scale=part.scaling)
        hidden = hidden + part.out_proj(heard.transpose(1, 2).reshape(b, n, -1))
        hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
        if hidden.dtype == torch.float16:  # as the library keeps it finite
            most = torch.finfo(torch.float16).max - 1000
            hidden = hidden.clamp(-most, most)
    return tower.proj2(tower.act(tower.proj1(tower.ln_post(hidden))))
