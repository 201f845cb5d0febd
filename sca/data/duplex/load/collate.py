"""Collate rows to a padded batch for a Qwen3-Omni thinker.

Every chunk is a separate encoder item, as in the live loop.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np

from sca.audio.mel import log_mel
from sca.data.duplex.load.dataset import DuplexRow
from sca.data.duplex.load.listener_labels import listener_labels
from sca.data.duplex.load.speaker_labels import speaker_labels
from sca.data.duplex.model.records import SegmentRecord
from sca.data.speakers.base import EMBEDDING_SIZE
from sca.errors import ConfigError, UsageError
from sca.tokenizer import TextTokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["DuplexBatch", "DuplexCollator", "HasTokenizer", "HasVocabulary"]

_IGNORED = -100  # the label that torch and transformers leave out of the loss


class HasVocabulary(Protocol):
    """A tokenizer of transformers."""

    def get_vocab(self) -> dict[str, int]:
        """Return the ids of all tokens."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the tokens of a text."""
        ...


class HasTokenizer(Protocol):
    """A processor of transformers."""

    tokenizer: HasVocabulary


class DuplexBatch(TypedDict):
    """A batch of B rows with at most L tokens, N chunks of all rows in order, and T mel frames per chunk.

    Attributes:
        input_ids: int64 `(B, L)`, padded on the right.
        attention_mask: int64 `(B, L)`.
        labels: int64 `(B, L)`, -100 on prompt, audio and padding, and where the words of the speaker are unknown.
            Not shifted: the model shifts them.
        label_weights: float32 `(B, L)`: 0 where `labels` are -100, the weight of silence at silence tokens, 1
            elsewhere.
        listener_labels: int64 `(B, L)`: the words of the listener on the audio tokens, -100 elsewhere; see
            `sca.data.duplex.load.listener_labels`. None if the collator does not make them.
        input_features: float32 `(N, 128, T)`.
        feature_attention_mask: int64 `(N, T)`.
        target_codes: int16 `(n_chunks, 16, frames)` per row, -1 past the end of the recording; None for rows without
            codes.
        target_audio: float32 `(n_chunks, 7680)` per row, 24 kHz.
        segment_info: Segments of each row, as stored.
        speaker_embeddings: float32 `(B, 192)`, zeros for rows without one.
        speaker_embedding_mask: bool `(B,)`, whether the row has a speaker embedding.
    """

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    labels: "torch.Tensor"
    label_weights: "torch.Tensor"
    listener_labels: "torch.Tensor | None"
    input_features: "torch.Tensor"
    feature_attention_mask: "torch.Tensor"
    target_codes: "list[torch.Tensor | None]"
    target_audio: "list[torch.Tensor]"
    segment_info: list[list[SegmentRecord]]
    speaker_embeddings: "torch.Tensor"
    speaker_embedding_mask: "torch.Tensor"


class DuplexCollator:
    """Makes a `DuplexBatch` of rows: `DataLoader(data, collate_fn=DuplexCollator(tokenizer))`.

    Can be pickled to loader workers.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer | HasVocabulary | HasTokenizer,
        *,
        silence_weight: float = 1.0,
        listener_text: bool = False,
    ) -> None:
        """Look up the ids of the audio and padding tokens.

        Args:
            tokenizer: The tokenizer of the model to train: an `sca.TextTokenizer`, or a tokenizer or processor of
                transformers.
            silence_weight: Weight of silence tokens in `label_weights`.
            listener_text: Whether to make `listener_labels`.

        Raises:
            ConfigError: The tokenizer has no audio or padding token of Qwen3-Omni.
            UsageError: The weight is negative.
        """
        if not 0 <= silence_weight < math.inf:
            raise UsageError(f"silence_weight must be a number from 0, got {silence_weight}")
        self.silence_weight = silence_weight
        self.listener_text = listener_text
        self._tokenizer = tokenizer if listener_text else None  # pickled to every worker
        self.audio_id = _token_id(tokenizer, "<|audio_pad|>")
        self.pad_id = _token_id(tokenizer, "<|endoftext|>")

    def __call__(self, rows: Sequence[DuplexRow]) -> DuplexBatch:
        """Collate rows.

        Raises:
            UsageError: `rows` is empty.
        """
        import torch

        if not rows:
            raise UsageError("a batch needs at least one row")
        shape = (len(rows), max(len(row.input_ids) for row in rows))
        ids, labels = np.full(shape, self.pad_id, np.int64), np.full(shape, _IGNORED, np.int64)
        attended, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        heard_words = np.full(shape, _IGNORED, np.int64)
        embeddings, known = np.zeros((len(rows), EMBEDDING_SIZE), np.float32), np.zeros(len(rows), bool)
        for i, row in enumerate(rows):
            n, audio = len(row.input_ids), row.input_ids == row.placeholder
            ids[i, :n] = np.where(audio, self.audio_id, row.input_ids)
            attended[i, :n] = 1
            labels[i, :n] = speaker_labels(row, _IGNORED)
            labelled = labels[i, :n] != _IGNORED
            weights[i, :n][labelled] = np.where(row.input_ids[labelled] == row.silence_id, self.silence_weight, 1)
            if self.listener_text:
                heard_words[i, :n] = listener_labels(row, self._encode, _IGNORED)
            if row.speaker_embedding is not None:
                embeddings[i], known[i] = row.speaker_embedding, True
        features = log_mel(np.concatenate([row.heard for row in rows]))
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(attended),
            "labels": torch.from_numpy(labels),
            "label_weights": torch.from_numpy(weights),
            "listener_labels": torch.from_numpy(heard_words) if self.listener_text else None,
            "input_features": torch.from_numpy(features),
            "feature_attention_mask": torch.ones(len(features), features.shape[-1], dtype=torch.int64),
            "target_codes": [None if row.codes is None else torch.from_numpy(row.codes) for row in rows],
            "target_audio": [torch.from_numpy(row.spoken) for row in rows],
            "segment_info": [row.segments for row in rows],
            "speaker_embeddings": torch.from_numpy(embeddings),
            "speaker_embedding_mask": torch.from_numpy(known),
        }

    def _encode(self, text: str) -> list[int]:
        if isinstance(self._tokenizer, TextTokenizer):
            return self._tokenizer.encode(text)
        assert self._tokenizer is not None, "kept for listener_text"
        inner = self._tokenizer.tokenizer if hasattr(self._tokenizer, "tokenizer") else self._tokenizer
        return inner.encode(text, add_special_tokens=False)


def _token_id(tokenizer: TextTokenizer | HasVocabulary | HasTokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token) if isinstance(tokenizer, TextTokenizer) else _transformers_id(tokenizer, token)
    if found is None:
        raise ConfigError(
            f"the tokenizer has no {token}", hint="training rows need the tokenizer of a Qwen3-Omni model"
        )
    return int(found)


def _transformers_id(tokenizer: HasVocabulary | HasTokenizer, token: str) -> int | None:
    inner = tokenizer.tokenizer if hasattr(tokenizer, "tokenizer") else tokenizer
    # convert_tokens_to_ids would return the id of the unknown token.
    return inner.get_vocab().get(token)
