"""The thinker, one piece at a time: a cache of its own, and positions that are counted here and given explicitly.

Explicit, because the model keeps `rope_deltas` of whoever called it last, which would leak from one session into another. Without
pictures all three rows of M-RoPE are the same count. No attention mask: causality follows from the cache's length.
"""

from typing import Any

from sca.errors import InputError

__all__ = ["ThinkerStream"]

Tensor = Any  # torch's, which is imported on use


class ThinkerStream:
    """One session's thinker.

    position: tokens taken so far.   room: most tokens it can take, the positions the model was trained for.
    """

    def __init__(self, thinker: Any) -> None:
        from transformers import DynamicCache

        self._thinker = thinker
        self._cache = DynamicCache(config=thinker.config.text_config)
        self.position = 0
        self.room = int(thinker.config.text_config.max_position_embeddings)

    def push(self, embeds: Tensor, hidden_layer: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Take `(1, n, dim)`; returns logits `(1, n, vocab)` and, if asked for, that layer's hidden states `(1, n, dim)`.

        Layer 0 is what goes into the first layer, layer k what comes out of the k-th.
        Raises `InputError` when the positions run out.
        """
        import torch

        n = embeds.shape[1]
        if self.position + n > self.room:
            raise InputError(
                f"the conversation fills the model's context: {self.position} of {self.room} tokens are taken",
                hint="begin a new session; what was said long ago is not dropped yet",
            )
        places = torch.arange(self.position, self.position + n, device=embeds.device).view(1, 1, -1).expand(3, 1, -1)
        out = self._thinker(
            inputs_embeds=embeds,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            output_hidden_states=hidden_layer is not None,
        )
        self.position += n
        return out.logits, None if hidden_layer is None else out.hidden_states[hidden_layer]

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
