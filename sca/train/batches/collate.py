"""Collate rows to the arguments of a thinker, padded or packed, with the kinds of their labels.

Packing joins rows to one sequence without padding. Their position ids start at 0 again with each row, and there is no
attention mask and no cache. transformers then masks attention between rows
(`masking_utils.find_packed_sequence_indices`): as a block-diagonal mask in sdpa, eager and flex attention, and as
lengths of sequences in flash attention, which needs a batch of one sequence. So one row does not hear another.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sca.config.sections.train.config import TrainConfig
from sca.control_tokens import Grammar
from sca.data.duplex.load.collate import DuplexCollator, HasTokenizer, HasVocabulary
from sca.data.duplex.load.dataset import DuplexRow
from sca.tokenizer import TextTokenizer
from sca.train.objective.kinds import IGNORED, label_kinds
from sca.train.objective.label_logits import LABELLED, labelled_places

if TYPE_CHECKING:
    import torch

__all__ = ["TrainBatch", "TrainCollator"]

TrainBatch = Mapping[str, "torch.Tensor | bool"]
"""The arguments of a thinker for B sequences of at most L tokens, which hold N chunks in order.

- `input_ids`: int64 `(B, L)`.
- `attention_mask`: int64 `(B, L)`; of padded batches only.
- `position_ids`: int64 `(B, L)`, from 0 in each row; of packed batches only.
- `input_features`: float32 `(N, 128, 32)`.
- `feature_attention_mask`: int64 `(N, 32)`.
- `labels`: int64 `(B, L, 2)`: the token or -100, and its `Kind`. Not shifted.
- `predicts_label`: bool `(B, L)`, see `logits_at_labels`.
- `use_cache`: False. With a cache, transformers does not recognise packed sequences.
"""


class TrainCollator:
    """Makes a `TrainBatch` of rows. Can be pickled to loader workers."""

    def __init__(
        self,
        tokenizer: TextTokenizer | HasVocabulary | HasTokenizer,
        train: TrainConfig,
        grammar: Grammar,
    ) -> None:
        """Look up the ids of the audio and padding tokens.

        Args:
            tokenizer: The tokenizer of the model to train.
            train: The settings; those of packing and of turn boundaries apply.
            grammar: The silence token and the control tokens of the data set (`DuplexDataset.grammar`).

        Raises:
            ConfigError: The tokenizer has no audio or padding token of Qwen3-Omni.
        """
        self._collate = DuplexCollator(tokenizer)
        self._packing, self._boundaries = train.packing, train.turn_boundaries
        self._grammar = grammar

    def __call__(self, rows: Sequence[DuplexRow]) -> TrainBatch:
        """Collate rows.

        Raises:
            UsageError: `rows` is empty.
        """
        import torch

        batch = self._collate(rows)
        tokens = batch["labels"]
        kinds = torch.full_like(tokens, IGNORED)
        for i, row in enumerate(rows):
            kinds[i, : len(row.input_ids)] = torch.from_numpy(self._kinds(row))
        labels = torch.stack([tokens, kinds], -1)
        heard = {name: batch[name] for name in ("input_features", "feature_attention_mask")}
        if self._packing:
            places = batch["attention_mask"].bool()
            ids, labels = batch["input_ids"][places][None], labels[places][None]
            positions = np.concatenate([np.arange(len(row.input_ids)) for row in rows])
            placed = {"input_ids": ids, "position_ids": torch.from_numpy(positions)[None]}
        else:
            placed = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        return {**placed, **heard, "labels": labels, LABELLED: labelled_places(labels), "use_cache": False}

    def _kinds(self, row: DuplexRow) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the kinds of a row's tokens."""
        return label_kinds(
            row.input_ids,
            row.placeholder,
            len(row.heard),
            row.segments,
            row.unlabelled,
            self._grammar,
            self._boundaries,
        )
