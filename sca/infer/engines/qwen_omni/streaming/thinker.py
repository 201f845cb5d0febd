"""The thinker, one piece at a time: a cache of its own, and positions that are counted here and given explicitly.

Explicit, because the model keeps `rope_deltas` of whoever called it last, which would leak from one session into another. Without
pictures all three rows of M-RoPE are the same count. No attention mask: causality follows from the cache's length, and what left
the cache is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow
from sca.infer.engines.qwen_omni.streaming.kv_cache import apply, held_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ThinkerStream"]


class ThinkerStream:
    """One session's thinker.

    prompt: the tokens that stay in the cache for good, may be none.   budget: most tokens in the cache.   window: what it holds.
    """

    def __init__(self, thinker: Any, prompt: tuple[int, ...] = (), budget: int | None = None) -> None:
        from transformers import DynamicCache

        config = thinker.config.text_config
        positions = int(config.max_position_embeddings)
        self._thinker = thinker
        self._cache = DynamicCache(config=config)
        self.window = ContextWindow(positions if budget is None else budget, positions)
        if prompt:
            self._forward(self.embed(list(prompt)), None)
            self.window.keep(len(prompt))

    @property
    def held_bytes(self) -> int:
        """Bytes of keys and values in its cache."""
        return held_bytes(self._cache)

    def open_chunk(self, most: int) -> None:
        """A chunk of at most `most` tokens begins: the oldest leave if there is no room for it."""
        change = self.window.open_chunk(most)
        if change:
            apply(change, self._cache, self._thinker.model.language_model.rotary_emb)

    def push(self, embeds: Tensor, hidden_layer: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Take `(1, n, dim)` of the chunk; returns logits `(1, n, vocab)` and, if asked for, a layer's hidden states `(1, n, dim)`.

        Layer 0 is what goes into the first layer, layer k what comes out of the k-th.
        """
        out = self._forward(embeds, hidden_layer)
        self.window.took(embeds.shape[1])
        return out.logits, None if hidden_layer is None else out.hidden_states[hidden_layer]

    def _forward(self, embeds: Tensor, hidden_layer: int | None) -> Any:
        import torch

        first = self.window.position
        places = torch.arange(first, first + embeds.shape[1], device=embeds.device).view(1, 1, -1).expand(3, 1, -1)
        return self._thinker(
            inputs_embeds=embeds,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            output_hidden_states=hidden_layer is not None,
        )

    def embed(self, token_ids: list[int]) -> Tensor:
        """The embeddings of text tokens, `(1, n, dim)`."""
        import torch

        table = self._thinker.get_input_embeddings()
        return table(torch.tensor([token_ids], dtype=torch.long, device=table.weight.device))

    def listen(self, features: Tensor) -> Tensor:
        """The audio tokens of one chunk's log-mel `(1, 128, T)`: `(1, n, dim)`. Each chunk is an item of its own."""
        import torch

        weight = self._thinker.get_input_embeddings().weight
        features = features.to(weight.device, weight.dtype)
        mask = torch.ones(features.shape[0], features.shape[-1], dtype=torch.long, device=weight.device)
        heard = self._thinker.get_audio_features(features, feature_attention_mask=mask).last_hidden_state
        return heard.reshape(1, -1, heard.shape[-1])
