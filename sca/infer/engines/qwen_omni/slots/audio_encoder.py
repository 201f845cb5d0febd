"""The audio encoder for batches of chunks of one length, without host synchronisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.fused.weights import Joined, add_product

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["AudioEncoder", "tokens_of"]


def tokens_of(tower: Module, mel_frames: int) -> int | None:
    """Return the number of audio tokens of a chunk (three strides of two), or None if the encoder would split the chunk."""
    if mel_frames > 2 * tower.n_window:
        return None
    for _ in range(3):
        mel_frames = -(-mel_frames // 2)
    return mel_frames


class AudioEncoder:
    """The audio encoder of the thinker."""

    def __init__(self, tower: Module) -> None:
        self._tower = tower
        parts = [layer.self_attn for layer in tower.layers]
        self._heads = [Joined([part.q_proj, part.k_proj, part.v_proj]) for part in parts]

    def __call__(self, features: Tensor) -> Tensor:
        """Encode log-mel `(b, bins, frames)` as audio tokens `(b, n, dim)`. The chunks do not influence each other."""
        import torch

        tower, functional = self._tower, torch.nn.functional
        wide = features[:, None].to(tower.conv2d1.weight.dtype)
        for conv in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
            wide = functional.gelu(conv(wide))
        b, channels, bins, n = wide.shape
        hidden = tower.conv_out(wide.permute(0, 3, 1, 2).reshape(b, n, channels * bins))
        hidden = hidden + tower.positional_embedding.positional_embedding[:n].to(hidden.dtype)
        for layer, joined in zip(tower.layers, self._heads, strict=True):
            part = layer.self_attn
            heads = joined(layer.self_attn_layer_norm(hidden)).view(b, n, 3, part.num_heads, -1)
            query, key, value = heads.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(query, key, value, scale=part.scaling)
            add_product(hidden, part.out_proj, attended.transpose(1, 2).reshape(b, n, -1))
            add_product(hidden, layer.fc2, layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
            if hidden.dtype == torch.float16:  # as in the library, so that the values stay finite
                most = torch.finfo(torch.float16).max - 1000
                hidden = hidden.clamp(-most, most)
        return tower.proj2(tower.act(tower.proj1(tower.ln_post(hidden))))
