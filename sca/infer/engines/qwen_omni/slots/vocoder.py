"""The vocoder over slots: always the newest frames and ten before them, so that every chunk has the same shape.

A conversation's first chunks have nothing before them. There the library pads with zeros in front of every convolution; here what
lies before the beginning is made zero in front of every convolution, which is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
from sca.infer.engines.qwen_omni.streaming.code2wav import CONTEXT_FRAMES
from sca.infer.engines.qwen_omni.streaming.kv_cache import turn_back

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SlotVocoder"]


class SlotVocoder:
    """state: what it remembers of each slot; the slot is the first dimension of each."""

    def __init__(self, code2wav: Any, slots: int) -> None:
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
        """A slot's positions begin anew, so many earlier."""
        for keys in self._keys:
            keys[slot] = turn_back(keys[slot], by, self._model.pre_transformer.rotary_emb.inv_freq)

    def push(self, codes: Tensor, active: Tensor, frames: Tensor, positions: Tensor) -> Tensor:
        """Codes `(b, 16, n)` of the first b slots to sound `(b, 1920 n)`: as `Code2WavStream`, with silence in front of the first.

        active: slots that go on, `(b, 1)`.   frames: frames before these, `(b, 1)`.   positions: of the first, `(b, 1)`.
        """
        import torch

        model, n = self._model, codes.shape[-1]
        hidden = model.code_embedding(codes + model.code_offset).mean(1)
        hidden = self._transform(hidden, active, frames, positions)
        known = torch.cat([self._context[: len(hidden)], hidden], 1)
        _keep(self._context, known[:, n:], active)
        wave, begins, rate = known.permute(0, 2, 1), CONTEXT_FRAMES - frames, 1
        for blocks in (*model.upsample, model.decoder):
            for block in blocks:
                wave, rate = _convolve(block, wave, begins, rate)
        wave = _after(wave, begins * rate).clamp(-1, 1)
        return wave[:, 0, -n * self._rate :]

    def _transform(self, hidden: Tensor, active: Tensor, frames: Tensor, positions: Tensor) -> Tensor:
        import torch

        transformer = self._model.pre_transformer
        b, n = hidden.shape[:2]
        past = self.window - 1
        order = torch.arange(n, device=hidden.device)
        cos, sin = rotations(transformer.rotary_emb, positions + order, hidden)
        # Of the cells, of which the last n are new: as far back as the window, and none from before the beginning.
        cell = torch.arange(past + n, device=hidden.device)
        own = past + order[:, None]
        sees = (cell <= own) & (cell > own - self.window)
        sees = sees[None] & (cell >= past - frames)[:, None]
        for i, block in enumerate(transformer.layers):
            part = block.self_attn
            query, key, value = heads(part, block.input_layernorm(hidden), cos, sin)
            keys = torch.cat([self._keys[i][:b], key], 2)
            values = torch.cat([self._values[i][:b], value], 2)
            _keep(self._keys[i], keys[:, :, n:], active)
            _keep(self._values[i], values[:, :, n:], active)
            seen = part.o_proj(attend(query, keys, values, sees, part.scaling))
            hidden = hidden + block.self_attn_layer_scale(seen)
            hidden = hidden + block.mlp_layer_scale(block.mlp(block.post_attention_layernorm(hidden)))
        return transformer.norm(hidden)


def _keep(state: Tensor, new: Tensor, active: Tensor) -> None:
    """Of the active slots."""
    import torch

    old = state[: len(new)]
    old.copy_(torch.where(active.view(-1, *[1] * (new.dim() - 1)), new, old))


def _after(wave: Tensor, begins: Tensor) -> Tensor:
    """`(b, channels, t)` with zeros before `begins`, `(b, 1)`."""
    import torch

    return wave * (torch.arange(wave.shape[-1], device=wave.device) >= begins)[:, None]


def _convolve(block: Any, wave: Tensor, begins: Tensor, rate: int) -> tuple[Tensor, int]:
    """A block of the vocoder, and how many samples a frame has after it. begins: the frame before which there is nothing."""
    kind = type(block).__name__.removeprefix("Qwen3OmniMoe")
    first = begins * rate
    if kind == "CausalConvNet":
        return block(_after(wave, first)), rate
    if kind == "CausalTransConvNet":
        return block(_after(wave, first)), rate * block.conv.stride[0]
    if kind == "ConvNeXtBlock":
        inner = block.norm(block.dwconv(_after(wave, first)).permute(0, 2, 1))
        inner = block.gamma * block.pwconv2(block.act(block.pwconv1(inner)))
        return wave + inner.permute(0, 2, 1), rate
    if kind == "Code2WavDecoderResidualUnit":
        inner = block.act2(block.conv1(_after(block.act1(wave), first)))
        return wave + block.conv2(inner), rate
    if kind == "Code2WavDecoderBlock":
        for part in block.block:
            wave, rate = _convolve(part, wave, begins, rate)
        return wave, rate
    return block(wave), rate  # an activation: sample by sample
