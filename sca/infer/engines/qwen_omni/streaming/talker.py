"""The talker of one session, one frame of 80 ms at a time: 16 codes a frame, the first by the talker, 15 by its code predictor.

The loop of the predictor is our own: `generate` of the library gives the same codes with far more Python per step
(`tests/integration/test_qwen_omni.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.kv_cache import apply, held_bytes

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module

__all__ = ["TalkerStream", "control_code_mask", "predict_residuals"]

Pick = Callable[["Tensor"], "Tensor"]  # logits (1, n) → the selected id (1, 1)

_SPECIAL_CODES = 1024  # the last ids of the vocabulary of the talker are control codes


def predict_residuals(talker: Module, hidden: Tensor, first: Tensor, pick: Pick) -> Tensor:
    """Predict all codes of a frame.

    Args:
        talker: The talker of the model.
        hidden: The hidden state of the talker from which it predicted `first`, `(1, 1, dim)`.
        first: The first code, `(1, 1)`.
        pick: Selects an id from logits.

    Returns:
        The codes, `(1, codebooks)`.
    """
    import torch
    from transformers import DynamicCache

    predictor = talker.code_predictor
    cache = DynamicCache(config=predictor.config)
    embeds = torch.cat((hidden, talker.get_input_embeddings()(first).to(hidden.device)), 1)
    codes = [first]
    for book in range(talker.config.num_code_groups - 1):
        out = predictor.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
        codes.append(pick(predictor.lm_head[book](out.last_hidden_state[:, -1])).to(first.device))
        embeds = predictor.model.codec_embedding[book](codes[-1])
    return torch.cat(codes, 1)


def control_code_mask(talker: Module, device: torch.device, *, end_allowed: bool = False) -> Tensor:
    """Return which ids of the talker are control codes, not audio: bool `(vocabulary,)`.

    Args:
        talker: The talker of the model.
        device: The device of the result.
        end_allowed: Whether the end token is left out.
    """
    import torch

    vocab = talker.config.text_config.vocab_size
    codes = torch.arange(vocab, device=device)
    controls = codes >= vocab - _SPECIAL_CODES
    return controls & (codes != talker.config.codec_eos_token_id) if end_allowed else controls


class TalkerStream:
    """The talker of one session.

    Attributes:
        window: The counts of its cache. The opening is never dropped.
    """

    OPENING = 6
    """Number of tokens before the first frame."""

    def __init__(
        self,
        talker: Module,
        speaker_id: int,
        text_pad: Tensor,
        text_bos: Tensor,
        pick: Pick,
        budget: int | None = None,
    ) -> None:
        """Create the stream and run the opening.

        Args:
            talker: The talker of the model.
            speaker_id: The codec token of the speaker.
            text_pad: Projected embedding in place of text, `(1, 1, dim)`.
            text_bos: Projected embedding of the beginning of text, `(1, 1, dim)`.
            pick: Selects an id from logits.
            budget: Maximum number of frames in the cache; None for all positions of the model.
        """
        from transformers import DynamicCache

        self._talker = talker
        self._pick = pick
        self._cache = DynamicCache(config=talker.config.text_config)
        positions = int(talker.config.text_config.max_position_embeddings)
        self.window = ContextWindow(positions if budget is None else budget, positions)
        self._control_codes = control_code_mask(talker, device_of(talker.codec_head))
        self._end = int(talker.config.codec_eos_token_id)
        self._not_end = control_code_mask(talker, device_of(talker.codec_head), end_allowed=True)
        self._push(self.opening(talker, speaker_id, text_pad, text_bos))
        self.window.keep(self.OPENING)

    @staticmethod
    def opening(talker: Module, speaker_id: int, text_pad: Tensor, text_bos: Tensor) -> Tensor:
        """Return the embeddings that `generate` puts before the first frame of an answer, without the text: `(1, 6, dim)`."""
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
        table = talker.get_input_embeddings()
        codec = table(torch.tensor([marks], device=device_of(table)))
        return codec + torch.cat([text_pad.expand(-1, 4, -1), text_bos, text_pad], 1).to(codec.device)

    @property
    def held_bytes(self) -> int:
        """Size of the keys and values in its cache, in bytes."""
        return held_bytes(self._cache)

    def open_chunk(self, frames: int) -> None:
        """Begin a chunk of `frames` frames, and drop the oldest chunks if it does not fit."""
        change = self.window.open_chunk(frames)
        if change:
            apply(change, self._cache, self._talker.model.rotary_emb)

    def frame(self, text: Tensor) -> Tensor:
        """Generate the next frame.

        Args:
            text: Projected hidden state that conditions the frame after this one, `(1, 1, dim)`.

        Returns:
            The codes of the frame, `(1, 16)`.
        """
        first = self._pick(self._logits.masked_fill(self._control_codes, float("-inf")))
        return self._with_residuals(first, text)

    def frame_or_end(self, text: Tensor) -> Tensor | None:
        """Generate the next frame as `frame`, or return None if the talker chooses its end token."""
        first = self._pick(self._logits.masked_fill(self._not_end, float("-inf")))
        return None if int(first) == self._end else self._with_residuals(first, text)

    @property
    def _logits(self) -> Tensor:
        logits: Tensor = self._talker.codec_head(self._hidden[:, -1])
        return logits

    def _with_residuals(self, first: Tensor, text: Tensor) -> Tensor:
        codes = predict_residuals(self._talker, self._hidden, first, self._pick)
        embeds = self._talker.get_input_embeddings()(codes[:, :1])
        for book in range(1, codes.shape[1]):
            table = self._talker.code_predictor.model.codec_embedding[book - 1]
            embeds = embeds + table(codes[:, book : book + 1]).to(embeds.device)
        self._push(embeds + text.to(embeds.device))
        self.window.add(1)
        return codes

    def _push(self, embeds: Tensor) -> None:
        import torch

        first = self.window.position
        places = torch.arange(first, first + embeds.shape[1], device=embeds.device).view(1, 1, -1).expand(3, 1, -1)
        out = self._talker.model(inputs_embeds=embeds, position_ids=places, past_key_values=self._cache, use_cache=True)
        self._hidden = out.last_hidden_state[:, -1:]
