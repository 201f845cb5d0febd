"""The vocoder over slots: always the newest frames and ten before them, so that every chunk has the same shape.

Before the first chunks of a conversation the library pads every convolution with zeros. Here, everything before the
beginning is set to zero before every convolution, which is equivalent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
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
        import torch

        self._model = code2wav
        config, weight = code2wav.config, code2wav.code_embedding.weight
        self.window = int(config.sliding_window)
        self._rate = int(code2wav.total_upsample)
        self.positions = int(config.max_position_embeddings)
        transformer = code2wav.pre_transformer
        part = transformer.layers[0].self_attn
        shape = (slots, config.num_key_value_heads, self.window - 1, part.head_dim)
        count = range(len(transformer.layers))
        self._keys = [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in count]
        self._values = [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in count]
        self._context = torch.zeros(slots, CONTEXT_FRAMES, config.hidden_size, dtype=weight.dtype, device=weight.device)
        self.state = [*self._keys, *self._values, self._context]

    def move_back(self, slot: int, by: int) -> None:
        """Move a slot back by a number of positions."""
        for keys in self._keys:
            keys[slot] = rotate_back(keys[slot], by, self._model.pre_transformer.rotary_emb.inv_freq)

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
        wave, begins, rate = known.permute(0, 2, 1), CONTEXT_FRAMES - frames, 1
        for blocks in (*model.upsample, model.decoder):
            for block in blocks:
                wave, rate = _convolve(block, wave, begins, rate)
        wave = _zero_before(wave, begins * rate).clamp(-1, 1)
        return wave[:, 0, -n * self._rate :]

    def _transform(self, hidden: Tensor, active: Tensor, frames: Tensor, positions: Tensor) -> Tensor:
        import torch

        transformer = self._model.pre_transformer
        b, n = hidden.shape[:2]
        past = self.window - 1
        order = torch.arange(n, device=hidden.device)
        cos, sin = rotations(transformer.rotary_emb, positions + order, hidden)
        # The last n cells are new. A row attends to the window before it, but not to anything before the beginning.
        cell = torch.arange(past + n, device=hidden.device)
        own = past + order[:, None]
        visible = (cell <= own) & (cell > own - self.window)
        visible = visible[None] & (cell >= past - frames)[:, None]
        for i, block in enumerate(transformer.layers):
            part = block.self_attn
            query, key, value = heads(part, block.input_layernorm(hidden), cos, sin)
            keys = torch.cat([self._keys[i][:b], key], 2)
            values = torch.cat([self._values[i][:b], value], 2)
            _update(self._keys[i], keys[:, :, n:], active)
            _update(self._values[i], values[:, :, n:], active)
            attended = part.o_proj(attend(query, keys, values, visible, part.scaling))
            hidden = hidden + block.self_attn_layer_scale(attended)
            hidden = hidden + block.mlp_layer_scale(block.mlp(block.post_attention_layernorm(hidden)))
        return transformer.norm(hidden)


def _update(state: Tensor, new: Tensor, active: Tensor) -> None:
    """Update the state of the active slots."""
    import torch

    old = state[: len(new)]
    old.copy_(torch.where(active.view(-1, *[1] * (new.dim() - 1)), new, old))


def _zero_before(wave: Tensor, begins: Tensor) -> Tensor:
    """Set everything before `begins` `(b, 1)` in `(b, channels, t)` to zero."""
    import torch

    return wave * (torch.arange(wave.shape[-1], device=wave.device) >= begins)[:, None]


def _convolve(block: Module, wave: Tensor, begins: Tensor, rate: int) -> tuple[Tensor, int]:
    """Run a block of the vocoder; return its output and the samples per frame after it.

    The conversation starts at frame `begins`.
    """
    kind = type(block).__name__.removeprefix("Qwen3OmniMoe")
    first = begins * rate
    if kind == "CausalConvNet":
        return block(_zero_before(wave, first)), rate
    if kind == "CausalTransConvNet":
        return block(_zero_before(wave, first)), rate * block.conv.stride[0]
    if kind == "ConvNeXtBlock":
        inner = block.norm(block.dwconv(_zero_before(wave, first)).permute(0, 2, 1))
        inner = block.gamma * block.pwconv2(block.act(block.pwconv1(inner)))
        return wave + inner.permute(0, 2, 1), rate
    if kind == "Code2WavDecoderResidualUnit":
        inner = block.act2(block.conv1(_zero_before(block.act1(wave), first)))
        return wave + block.conv2(inner), rate
    if kind == "Code2WavDecoderBlock":
        for part in block.block:
            wave, rate = _convolve(part, wave, begins, rate)
        return wave, rate
    return block(wave), rate  # an activation, which works sample by sample
