"""The talker, one frame of 80 ms at a time: 16 codes a frame, the first from the talker, 15 from its code predictor.

The predictor's loop is written out: the library's `generate` does the same with far more Python per step, and gives the same codes
(`tests/integration/test_qwen_omni.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow
from sca.infer.engines.qwen_omni.streaming.kv_cache import apply, held_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TalkerStream", "no_sound_of", "predict_residuals"]

Pick = Callable[["Tensor"], "Tensor"]  # logits (1, n) → the chosen id (1, 1)

_SPECIAL_CODES = 1024  # the last ids of the talker's vocabulary are marks, never sound


def predict_residuals(talker: Any, hidden: Tensor, first: Tensor, pick: Pick) -> Tensor:
    """All codes of a frame, `(1, codebooks)`.

    hidden: the talker's last state `(1, 1, dim)` where it predicted `first`.   first: the first code, `(1, 1)`.
    """
    import torch
    from transformers import DynamicCache

    predictor = talker.code_predictor
    cache = DynamicCache(config=predictor.config)
    embeds = torch.cat((hidden, talker.get_input_embeddings()(first)), 1)
    codes = [first]
    for book in range(talker.config.num_code_groups - 1):
        out = predictor.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
        codes.append(pick(predictor.lm_head[book](out.last_hidden_state[:, -1])))
        embeds = predictor.model.codec_embedding[book](codes[-1])
    return torch.cat(codes, 1)


def no_sound_of(talker: Any, device: Any) -> Tensor:
    """Which ids of the talker are marks and no sound, bool `(vocabulary,)`."""
    import torch

    vocab = talker.config.text_config.vocab_size
    return torch.arange(vocab, device=device) >= vocab - _SPECIAL_CODES


class TalkerStream:
    """One session's talker.

    speaker_id: the codec token of the voice.   text_pad, text_bos: what it is told in place of text, `(1, 1, dim)`, projected.
    pick: chooses an id from logits.   budget: most frames in the cache.   window: what it holds; the opening stays for good.
    """

    OPENING = 6  # tokens before the first frame

    def __init__(
        self,
        talker: Any,
        speaker_id: int,
        text_pad: Tensor,
        text_bos: Tensor,
        pick: Pick,
        budget: int | None = None,
    ) -> None:
        from transformers import DynamicCache

        self._talker = talker
        self._pick = pick
        self._cache = DynamicCache(config=talker.config.text_config)
        positions = int(talker.config.text_config.max_position_embeddings)
        self.window = ContextWindow(positions if budget is None else budget, positions)
        self._no_sound = no_sound_of(talker, text_pad.device)
        self._push(self.opening(talker, speaker_id, text_pad, text_bos))
        self.window.keep(self.OPENING)

    @staticmethod
    def opening(talker: Any, speaker_id: int, text_pad: Tensor, text_bos: Tensor) -> Tensor:
        """What `generate` puts before the first frame of an answer, less the text: `(1, 6, dim)`."""
        import torch

        config = talker.config
        marks = [
            config.codec_nothink_id,
            config.codec_think_bos_id,
            config.codec_think_eos_id,
            speaker_id,
            config.codec_pad_id,
            config.codec_bos_id,
        ]
        codec = talker.get_input_embeddings()(torch.tensor([marks], device=text_pad.device))
        return codec + torch.cat([text_pad.expand(-1, 4, -1), text_bos, text_pad], 1)

    @property
    def held_bytes(self) -> int:
        """Bytes of keys and values in its cache."""
        return held_bytes(self._cache)

    def open_chunk(self, frames: int) -> None:
        """A chunk of so many frames begins: the oldest leave if there is no room for it."""
        change = self.window.open_chunk(frames)
        if change:
            apply(change, self._cache, self._talker.model.rotary_emb)

    def frame(self, text: Tensor) -> Tensor:
        """The codes `(1, 16)` of the next 80 ms; what comes after them is told `text`, `(1, 1, dim)`, projected."""
        logits = self._talker.codec_head(self._hidden[:, -1]).masked_fill(self._no_sound, float("-inf"))
        codes = predict_residuals(self._talker, self._hidden, self._pick(logits), self._pick)
        embeds = self._talker.get_input_embeddings()(codes[:, :1])
        for book in range(1, codes.shape[1]):
            table = self._talker.code_predictor.model.codec_embedding[book - 1]
            embeds = embeds + table(codes[:, book : book + 1])
        self._push(embeds + text)
        self.window.took(1)
        return codes

    def _push(self, embeds: Tensor) -> None:
        import torch

        first = self.window.position
        places = torch.arange(first, first + embeds.shape[1], device=embeds.device).view(1, 1, -1).expand(3, 1, -1)
        out = self._talker.model(inputs_embeds=embeds, position_ids=places, past_key_values=self._cache, use_cache=True)
        self._hidden = out.last_hidden_state[:, -1:]
