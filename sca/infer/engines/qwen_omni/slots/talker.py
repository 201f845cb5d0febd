"""The talker over slots, one frame of 80 ms of all of them at a time, and their code predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.decoder import Decoder, SlotCache
from sca.infer.engines.qwen_omni.slots.fused.predictor import CodePredictor
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
        predictor: The code predictor.
    """

    def __init__(self, talker: Module, slots: int, room: int, temperature: float, top_k: int) -> None:
        import torch

        weight = talker.get_input_embeddings().weight
        self._talker, self._temperature, self._top_k = talker, temperature, top_k
        self.cache = SlotCache(talker.config.text_config, slots, room, weight)
        self.decoder = Decoder(talker.model, self.cache)
        self.hidden = torch.zeros(slots, 1, weight.shape[1], dtype=weight.dtype, device=weight.device)
        self._control_codes = control_code_mask(talker, weight.device)
        self._end = int(talker.config.codec_eos_token_id)
        self._not_end = control_code_mask(talker, weight.device, end_allowed=True)
        self.predictor = CodePredictor(talker, slots, self._pick)

    def frame(
        self,
        text: Tensor,
        noise: Tensor,
        active: Tensor,
        places: Tensor,
        positions: Tensor,
        span: int,
        may_end: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Generate the next frame of the first b slots.

        Args:
            text: Projected hidden states that condition the frame after this one, `(b, 1, dim)`.
            noise: Random numbers for the sampling, `(b, 16)`.
            active: The slots that advance, `(b, 1)`.
            places: See `Decoder`, for active slots.
            positions: See `Decoder`.
            span: See `Decoder`.
            may_end: The slots whose talker may choose its end token, `(b, 1)`; None for none.

        Returns:
            The codes, `(b, 16)`, 0 in slots that end or do not advance if `may_end` is given; and the slots that advanced.
        """
        import torch

        b = text.shape[0]
        talker = self._talker
        before = self.hidden[:b]
        barred = self._control_codes if may_end is None else torch.where(may_end, self._not_end, self._control_codes)
        first = self._pick(talker.codec_head(before[:, -1]).masked_fill(barred, float("-inf")), noise[:, :1])
        if may_end is not None:
            active = active & (first != self._end)
        codes, embeds = self.predictor(before, first, noise)
        if may_end is not None:
            codes = codes.masked_fill(~active, 0)
        places = torch.where(active, places, self.cache.trash)
        after, _ = self.decoder(embeds + text, places, positions, span)
        torch.where(active[..., None], after, before, out=before)
        return codes, active

    def _pick(self, logits: Tensor, noise: Tensor) -> Tensor:
        return sample(logits, self._temperature, self._top_k, noise)
