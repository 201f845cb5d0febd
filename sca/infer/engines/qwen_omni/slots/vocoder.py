"""The vocoder over slots: always the newest frames and ten before them, so that every chunk has the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.fused.attention import Norm, turn, turns
from sca.infer.engines.qwen_omni.slots.fused.convolutions import Begin, Convolutions
from sca.infer.engines.qwen_omni.slots.fused.weights import Joined
from sca.infer.engines.qwen_omni.streaming.attention import attend
from sca.infer.engines.qwen_omni.streaming.code2wav import CONTEXT_FRAMES
from sca.infer.engines.qwen_omni.streaming.kv_cache import rotate_back

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["SlotVocoder"]


class SlotVocoder:
    """The vocoder of all slots.

    Attributes:
        state: The state tensors; the slot is the first dimension of each.
        window: Length of the sliding window, in frames.
        positions: Number of positions of the model.
    """

    def __init__(self, code2wav: Module, slots: int) -> None:
        self._model = code2wav
        config, weight = code2wav.config, code2wav.code_embedding.weight
        self.window = int(config.sliding_window)
        self._rate = int(code2wav.total_upsample)
        self.positions = int(config.max_position_embeddings)
        transformer = code2wav.pre_transformer
        part = transformer.layers[0].self_attn
        shape = (slots, config.num_key_value_heads, self.window - 1, part.head_dim)
        self._layers = [_Layer(block, weight.new_zeros(shape), weight.new_zeros(shape)) for block in transformer.layers]
        self._norm, self._rotary = Norm(transformer.norm), transformer.rotary_emb
        self._convolutions = Convolutions(code2wav)
        self._context = weight.new_zeros(slots, CONTEXT_FRAMES, config.hidden_size)
        caches = [cache for layer in self._layers for cache in (layer.keys, layer.values)]
        self.state = [*caches, self._context]

    def move_back(self, slot: int, by: int) -> None:
        """Move a slot back by a number of positions."""
        for layer in self._layers:
            layer.keys[slot] = rotate_back(layer.keys[slot], by, self._rotary.inv_freq)

    def push(self, codes: Tensor, active: Tensor, frames: Tensor, positions: Tensor) -> Tensor:
        """Decode codes of the first b slots, as `Code2WavStream` with silence before the first sample.

        Args:
            codes: `(b, 16, n)`.
            active: The slots that advance, `(b, 1)`.
            frames: Number of frames before these, `(b, 1)`.
            positions: Position of the first frame, `(b, 1)`.

        Returns:
            The audio, `(b, 1920 n)`.
        """
        import torch

        model, n = self._model, codes.shape[-1]
        hidden = model.code_embedding(codes + model.code_offset).mean(1)
        hidden = self._transform(hidden, active, frames, positions)
        known = torch.cat([self._context[: len(hidden)], hidden], 1)
        _update(self._context, known[:, n:], active)
        wave = self._convolutions(known.permute(0, 2, 1), Begin(CONTEXT_FRAMES - frames))
        return wave[:, 0, -n * self._rate :].clamp(-1, 1)

    def _transform(self, hidden: Tensor, active: Tensor, frames: Tensor, positions: Tensor) -> Tensor:
        import torch

        n, past = hidden.shape[1], self.window - 1
        order = torch.arange(n, device=hidden.device)
        matrix = turns(self._rotary, positions + order, hidden.dtype)
        # The last n cells are new. A row attends to the window before it, but not to anything before the beginning.
        cell = torch.arange(past + n, device=hidden.device)
        own = past + order[:, None]
        visible = (cell <= own) & (cell > own - self.window)
        visible = visible[None] & (cell >= past - frames)[:, None]
        mask = torch.zeros(visible.shape, dtype=hidden.dtype, device=hidden.device).masked_fill_(
            ~visible, float("-inf")
        )
        for layer in self._layers:
            layer(hidden, matrix, mask[:, None], active)
        return self._norm(hidden)


class _Layer:
    """A layer of the transformer, and its keys and values `(slots, heads, window - 1, dim)`."""

    def __init__(self, block: Module, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values, self._block = keys, values, block
        part, mlp = block.self_attn, block.mlp
        self._heads, self._gate_up = (
            Joined([part.q_proj, part.k_proj, part.v_proj]),
            Joined([mlp.gate_proj, mlp.up_proj]),
        )
        self._norms = Norm(block.input_layernorm), Norm(block.post_attention_layernorm)

    def __call__(self, hidden: Tensor, matrix: Tensor, mask: Tensor, active: Tensor) -> None:
        """Add the output of the layer to `hidden` `(b, n, dim)`, and keep the newest keys and values of active slots.

        Args:
            hidden: The hidden states; they are changed.
            matrix: The rotations of the rows; see `turns`.
            mask: The mask; see `attend`.
            active: The slots that advance, `(b, 1)`.
        """
        import torch

        (b, n, _), block, part = hidden.shape, self._block, self._block.self_attn
        heads = self._heads(self._norms[0](hidden)).unflatten(-1, (-1, part.head_dim))
        many = part.config.num_attention_heads
        both = heads.shape[2] - part.config.num_key_value_heads
        rotated = turn(heads[:, :, :both], matrix).transpose(1, 2)
        keys = torch.cat([self.keys[:b], rotated[:, many:]], 2)
        values = torch.cat([self.values[:b], heads[:, :, both:].transpose(1, 2)], 2)
        _update(self.keys, keys[:, :, n:], active)
        _update(self.values, values[:, :, n:], active)
        attended = part.o_proj(attend(rotated[:, :many], keys, values, mask, part.scaling))
        hidden.addcmul_(block.self_attn_layer_scale.scale, attended)
        gate, up = self._gate_up(self._norms[1](hidden)).chunk(2, -1)
        inner = block.mlp.down_proj(block.mlp.act_fn(gate).mul_(up))
        hidden.addcmul_(block.mlp_layer_scale.scale, inner)


def _update(state: Tensor, new: Tensor, active: Tensor) -> None:
    """Update the state of the active slots."""
    import torch

    old = state[: len(new)]
    torch.where(active.view(-1, *[1] * (new.dim() - 1)), new, old, out=old)
