"""How many labels of each kind a data set has, and what part of the loss they are. Reads no audio."""

from dataclasses import dataclass

import numpy as np

from sca.data.duplex.load.dataset import DuplexDataset
from sca.train.objective.kinds import IGNORED, Boundaries, Kind, label_kinds

__all__ = ["LabelShares", "label_shares"]

_MOST_ROWS = 2000
"""Rows that are counted; of more rows, as many at equal distances. A share of 1 % of their 300 000 labels is exact to
0.02 %."""


@dataclass(frozen=True, slots=True)
class LabelShares:
    """The labels of a data set.

    Attributes:
        rows: Rows of the data set.
        counted: Rows that were counted.
        tokens: Tokens of these rows.
        labels: Labels of these rows by kind.
    """

    rows: int
    counted: int
    tokens: int
    labels: dict[Kind, int]

    @property
    def shares(self) -> dict[Kind, float]:
        """The share of all labels that each kind has."""
        return _parts({kind: float(count) for kind, count in self.labels.items()})

    def weighted(self, weights: dict[Kind, float]) -> dict[Kind, float]:
        """Return the share of the sum of weights that each kind has.

        Args:
            weights: The weight of each kind.
        """
        return _parts({kind: count * weights[kind] for kind, count in self.labels.items()})

    @property
    def labelled(self) -> float:
        """The share of all tokens that are labels; logits are needed for no others."""
        return sum(self.labels.values()) / max(1, self.tokens)


def label_shares(data: DuplexDataset, boundaries: Boundaries) -> LabelShares:
    """Count the labels of a data set, or of 2000 of its rows at equal distances.

    Args:
        data: The data set.
        boundaries: Where turns start and end.
    """
    counts, tokens = np.zeros(len(Kind), np.int64), 0
    chosen = np.unique(np.linspace(0, len(data) - 1, min(len(data), _MOST_ROWS)).round().astype(int))
    for index in chosen.tolist():
        row = data.record(index)
        ids, unlabelled = (
            np.asarray(row["input_ids"], np.int32),
            [(one["first"], one["end"]) for one in row["unlabelled"]],
        )
        kinds = label_kinds(
            ids, data.placeholder, row["n_chunks"], row["segments"], unlabelled, data.grammar, boundaries
        )
        counts += np.bincount(kinds[kinds != IGNORED], minlength=len(Kind))
        tokens += len(ids)
    return LabelShares(len(data), len(chosen), tokens, {kind: int(counts[kind]) for kind in Kind})


def _parts(sums: dict[Kind, float]) -> dict[Kind, float]:
    total = sum(sums.values())
    return {kind: value / total if total else 0.0 for kind, value in sums.items()}
