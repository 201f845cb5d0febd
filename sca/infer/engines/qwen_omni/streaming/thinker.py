"""The thinker of one session, step by step, with its own cache and explicit positions.

The positions are explicit because the model stores the `rope_deltas` of its last call, which would leak from one
session into another. Without images all three rows of M-RoPE are equal. It does not use an attention mask: causality follows
from the length of the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sca.errors import ConfigError
from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.kv_cache import apply, held_bytes

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["ThinkerStream", "conditioning_layer"]


def conditioning_layer(conditioning: str, model: Module) -> int:
    """Return the layer of hidden states that condition the talker; 0, the embeddings, for `embed`."""
    if conditioning == "embed":
        return 0
    layer = int(conditioning.partition(":")[2])
    layers = model.config.thinker_config.text_config.num_hidden_layers
    if layer > layers:
        raise ConfigError(f"qwen.conditioning is {conditioning}, but the thinker has {layers} layers")
    return layer


class ThinkerStream:
    """The thinker of one session.

    Attributes:
        window: The counts of its cache.
    """

    def __init__(self, thinker: Module, prompt: tuple[int, ...] = (), budget: int | None = None) -> None:
        """Create the stream and run the prompt.

        Args:
            thinker: The thinker of the model.
            prompt: Tokens that stay in the cache permanently; may be empty.
            budget: Maximum number of tokens in the cache; None for all positions of the model.
        """
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
        """Size of the keys and values in its cache, in bytes."""
        return held_bytes(self._cache)

    def open_chunk(self, most: int) -> None:
        """Begin a chunk of at most `most` tokens, and drop the oldest chunks if it does not fit."""
        change = self.window.open_chunk(most)
        if change:
            apply(change, self._cache, self._thinker.model.language_model.rotary_emb)

    def push(self, embeds: Tensor, hidden_layer: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Process embeddings of the chunk.

        Args:
            embeds: `(1, n, dim)`.
            hidden_layer: The layer to return hidden states of: 0 is the input of the first layer, k the output of layer
                k.

        Returns:
            Logits `(1, n, vocab)`, and the hidden states `(1, n, dim)` or None.
        """
        out = self._forward(embeds, hidden_layer)
        self.window.add(embeds.shape[1])
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
        """Return the embeddings of text tokens, `(1, n, dim)`."""
        import torch

        table = self._thinker.get_input_embeddings()
        return table(torch.tensor([token_ids], dtype=torch.long, device=device_of(table)))

    def listen(self, features: Tensor) -> Tensor:
        """Encode the log-mel `(1, 128, T)` of one chunk as audio tokens `(1, n, dim)`.

        Each chunk is a separate item.
        """
        import torch

        table, device = self._thinker.get_input_embeddings(), device_of(self._thinker.model.audio_tower.conv2d1)
        features = features.to(device, table.weight.dtype)
        mask = torch.ones(features.shape[0], features.shape[-1], dtype=torch.long, device=device)
        encoded = self._thinker.get_audio_features(features, feature_attention_mask=mask).last_hidden_state
        return encoded.reshape(1, -1, encoded.shape[-1]).to(device_of(table))
