"""The talker over slots, one frame of 80 ms of all of them at a time, and its code predictor with a cache per frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.decoder import Decoder, SlotCache
from sca.infer.engines.qwen_omni.streaming.attention import attend, heads, rotations
from sca.infer.engines.qwen_omni.streaming.sampling import sample
from sca.infer.engines.qwen_omni.streaming.talker import control_code_mask

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["SlotTalker"]


class SlotTalker:
    """The talker of all slots.

    Attributes:
        hidden: The last hidden state of each slot, `(slots, 1, dim)`.
    """

    def __init__(self, talker: Module, slots: int, room: int, temperature: float, top_k: int) -> None:
        import torch

        weight = talker.get_input_embeddings().weight
        self._talker, self._temperature, self._top_k = talker, temperature, top_k
        self.cache = SlotCache(talker.config.text_config, slots, room, weight)
        self.decoder = Decoder(talker.model, self.cache)
        self.hidden = torch.zeros(slots, 1, weight.shape[1], dtype=weight.dtype, device=weight.device)
        self._control_codes = control_code_mask(talker, weight.device)
        self._books = talker.config.num_code_groups

    def frame(
        self, text: Tensor, noise: Tensor, active: Tensor, places: Tensor, positions: Tensor, span: int
    ) -> Tensor:
        """Generate the next frame of the first b slots.

        Args:
            text: Projected hidden states that condition the frame after this one, `(b, 1, dim)`.
            noise: Random numbers for the sampling, `(b, 16)`.
            active: The slots that advance, `(b, 1)`.
            places: See `Decoder`.
            positions: See `Decoder`.
            span: See `Decoder`.

        Returns:
            The codes, `(b, 16)`.
        """
        import torch

        b = text.shape[0]
        talker = self._talker
        before = self.hidden[:b]
        logits = talker.codec_head(before[:, -1]).masked_fill(self._control_codes, float("-inf"))
        codes = self._residuals(before, self._pick(logits, noise[:, :1]), noise)
        embeds = talker.get_input_embeddings()(codes[:, :1])
        for book in range(1, self._books):
            embeds = embeds + talker.code_predictor.model.codec_embedding[book - 1](codes[:, book : book + 1])
        after, _ = self.decoder(embeds + text, places, positions, span)
        before.copy_(torch.where(active[..., None], after, before))
        return codes

    def _residuals(self, hidden: Tensor, first: Tensor, noise: Tensor) -> Tensor:
        """Predict all codes of a frame, `(b, 16)`; see `predict_residuals`.

        Every step attends to all of its cache, without a mask.
        """
        import torch

        talker = self._talker
        predictor = talker.code_predictor.model
        b, layers = hidden.shape[0], predictor.layers
        part = layers[0].self_attn
        shape = (2, len(layers), b, predictor.config.num_key_value_heads, self._books, part.head_dim)
        keys, values = torch.empty(shape, dtype=hidden.dtype, device=hidden.device)
        cos, sin = rotations(predictor.rotary_emb, torch.arange(self._books, device=hidden.device)[None], hidden)
        pair = torch.ones(1, 2, 2, dtype=torch.bool, device=hidden.device).tril().expand(b, 2, 2)
        embeds = torch.cat((hidden, talker.get_input_embeddings()(first)), 1)
        codes, at = [first], 0
        for book in range(self._books - 1):
            rows = slice(at, at + embeds.shape[1])
            x = embeds
            for i, block in enumerate(layers):
                part = block.self_attn
                normed = block.input_layernorm(x)
                query, keys[i, :, :, rows], values[i, :, :, rows] = heads(
                    part, normed, cos[:, :, rows], sin[:, :, rows]
                )
                attended = attend(
                    query,
                    keys[i, :, :, : rows.stop],
                    values[i, :, :, : rows.stop],
                    pair if book == 0 else None,
                    part.scaling,
                )
                x = x + part.o_proj(attended)
                x = x + block.mlp(block.post_attention_layernorm(x))
            logits = talker.code_predictor.lm_head[book](predictor.norm(x)[:, -1])
            codes.append(self._pick(logits, noise[:, book + 1 : book + 2]))
            embeds = predictor.codec_embedding[book](codes[-1])
            at = rows.stop
        return torch.cat(codes, 1)

    def _pick(self, logits: Tensor, noise: Tensor) -> Tensor:
        return sample(logits, self._temperature, self._top_k, noise)
