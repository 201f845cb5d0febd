"""Two builds beside each other: which rows are only in one of them, and which differ."""

import numpy as np
from numpy.typing import NDArray

from sca.browse.columns import Column
from sca.browse.table import Table

__all__ = ["AGAINST", "CHANGES", "changes", "count_changes"]

AGAINST = Column("against", "choice", "Change", "the row in this data set and in the one that it is compared with")
"""The column of the comparison."""

CHANGES = ("same", "changed", "added", "removed")
"""The values of the column."""


def changes(here: Table, there: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compare the rows of two data sets by their ids.

    A row is changed if its text, times, places of tokens, flags or length differ. Audio is not compared.

    Args:
        here: The data set.
        there: The one to compare with.

    Returns:
        For each row of `here` the number of `same`, `changed` or `added` in `CHANGES`; for each row of `there` that of
        `same`, `changed` or `removed`.
    """
    digests = [table.index.column("digest").to_numpy() for table in (here, there)]
    of_there = np.asarray([there.number_of.get(row_id, -1) for row_id in here.ids])
    common = of_there >= 0
    found = np.full(len(here), CHANGES.index("added"))
    found[common] = digests[0][common] != digests[1][of_there[common]]  # 0: same, 1: changed
    reverse = np.full(len(there), CHANGES.index("removed"))
    reverse[of_there[common]] = found[common]
    return found, reverse


def count_changes(found: NDArray[np.int64], reverse: NDArray[np.int64]) -> dict[str, int]:
    """Return how many rows are the same, changed, added and removed."""
    counts = np.bincount(found, minlength=len(CHANGES))
    counts[CHANGES.index("removed")] = (reverse == CHANGES.index("removed")).sum()
    return dict(zip(CHANGES, counts.tolist(), strict=True))
