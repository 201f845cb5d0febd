"""Rows become a padded batch for a Qwen3-Omni thinker. Every chunk is an encoder item of its own, as in the live loop."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sca.audio.mel import log_mel
from sca.data.duplex.load.dataset import DuplexRow
from sca.errors import ConfigError, UsageError
from sca.tokenizer import TextTokenizer

__all__ = ["DuplexCollator"]

_IGNORED = -100  # the label that takes no part in the loss of torch and transformers
_EMBEDDING = 192


class DuplexCollator:
    """`DataLoader(data, collate_fn=DuplexCollator(tokenizer))`; can be pickled to loader workers.

    tokenizer: of the model that is trained: `sca.tokenizer.base.TextTokenizer`, or a tokenizer or a processor of transformers.
    Raises `ConfigError` for a tokenizer without the audio and padding tokens of Qwen3-Omni.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.audio_id = _token_id(tokenizer, "<|audio_pad|>")
        self.pad_id = _token_id(tokenizer, "<|endoftext|>")

    def __call__(self, rows: Sequence[DuplexRow]) -> dict[str, Any]:
        """The batch. B rows of at most L tokens, N chunks of all rows in order, T mel frames a chunk.

        input_ids, attention_mask, labels: int64 (B, L), padded on the right; labels are not shifted (the model does that), -100 on
        prompt, audio and padding.   input_features: float32 (N, 128, T).   feature_attention_mask: int64 (N, T).
        target_codes: int16 (n_chunks, 16, frames) a row, -1 past the recording's end, None where there are none.
        target_audio: float32 (n_chunks, 7680) a row, 24 kHz.   segment_info: the segments of each row as stored.
        speaker_embeddings: float32 (B, 192), zeros where there is none; speaker_embedding_mask: bool (B,) says where there is one.
        """
        import torch

        if not rows:
            raise UsageError("a batch needs at least one row")
        shape = (len(rows), max(len(row.input_ids) for row in rows))
        ids, labels = np.full(shape, self.pad_id, np.int64), np.full(shape, _IGNORED, np.int64)
        attended = np.zeros(shape, np.int64)
        embeddings, known = np.zeros((len(rows), _EMBEDDING), np.float32), np.zeros(len(rows), bool)
        for i, row in enumerate(rows):
            n, heard = len(row.input_ids), row.input_ids == row.placeholder
            ids[i, :n] = np.where(heard, self.audio_id, row.input_ids)
            attended[i, :n] = 1
            answer = ~heard & (np.cumsum(heard) > 0)  # the prompt is what stands before the first audio token
            labels[i, :n][answer] = row.input_ids[answer]
            if row.speaker_embedding is not None:
                embeddings[i], known[i] = row.speaker_embedding, True
        features = log_mel(np.concatenate([row.heard for row in rows]))
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(attended),
            "labels": torch.from_numpy(labels),
            "input_features": torch.from_numpy(features),
            "feature_attention_mask": torch.ones(len(features), features.shape[-1], dtype=torch.int64),
            "target_codes": [None if row.codes is None else torch.from_numpy(row.codes) for row in rows],
            "target_audio": [torch.from_numpy(row.spoken) for row in rows],
            "segment_info": [row.segments for row in rows],
            "speaker_embeddings": torch.from_numpy(embeddings),
            "speaker_embedding_mask": torch.from_numpy(known),
        }


def _token_id(tokenizer: Any, token: str) -> int:
    found = tokenizer.token_to_id(token) if isinstance(tokenizer, TextTokenizer) else _transformers_id(tokenizer, token)
    if found is None:
        raise ConfigError(
            f"the tokenizer has no {token}", hint="training rows need the tokenizer of a Qwen3-Omni model"
        )
    return int(found)


def _transformers_id(tokenizer: Any, token: str) -> int | None:
    vocabulary: dict[str, int] = getattr(tokenizer, "tokenizer", tokenizer).get_vocab()  # a processor holds a tokenizer
    # convert_tokens_to_ids would answer with the id of the unknown token.
    return vocabulary.get(token)
