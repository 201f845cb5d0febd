"""Two builds beside each other: which rows are only in one of them, and which differ."""

from collections import Counter

import numpy as np

from sca.browse.columns import Column
from sca.browse.table import Table

__all__ = ["AGAINST", "changes", "count_changes"]

AGAINST = Column("against", "choice", "Change", "the row in this data set and in the one that it is compared with")
"""The column of the comparison."""

_CHANGES = ("same", "changed", "added", "removed")


def changes(here: Table, there: Table) -> tuple[list[str], list[str]]:
    """Compare the rows of two data sets by their ids.

    A row is changed if its text, times, places of tokens, flags or length differ. Audio is not compared.

    Args:
        here: The data set.
        there: The one to compare with.

    Returns:
        `same`, `changed` or `added` for each row of `here`; and `same`, `changed` or `removed` for each row of `there`.
    """
    digests = [table.index.column("digest").to_numpy() for table in (here, there)]
    of_there = np.asarray([there.number_of.get(row_id, -1) for row_id in here.ids])
    common = of_there >= 0
    equal = np.zeros(len(here), bool)
    equal[common] = digests[0][common] == digests[1][of_there[common]]
    found = ["added" if not known else "same" if same else "changed" for known, same in zip(common, equal, strict=True)]
    reverse = ["removed"] * len(there)
    for number, change in zip(of_there[common].tolist(), (c for c in found if c != "added"), strict=True):
        reverse[number] = change
    return found, reverse


def count_changes(found: list[str], reverse: list[str]) -> dict[str, int]:
    """Return how many rows are the same, changed, added and removed."""
    counts = Counter(found) + Counter(change for change in reverse if change == "removed")
    return {name: counts[name] for name in _CHANGES}
