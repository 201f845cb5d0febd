"""The batches of an epoch, as lists of rows: packed to sequences, of similar lengths, or in any order. Pure functions.

Rows are divided into groups: all rows, or the rows of a few consecutive sessions, whose audio is fetched together. A
batch has rows of one group. The number of batches depends on the lengths only and is the same in every epoch, because a
learning rate is planned for it.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "epoch_batches", "pack_rows", "row_groups"]

Batch = list[int]
"""The numbers of the rows of a batch."""

_SORTED_TOGETHER = 50
"""Largest number of batches whose rows are sorted by length together, as in transformers' `LengthGroupedSampler`: enough
for nearly equal lengths. At most a quarter of a group, so that its batches differ from epoch to epoch."""
_QUARTER = 4


def row_groups(sessions: Sequence[str], shuffle_sessions: int) -> list[NDArray[np.int64]]:
    """Divide the rows into groups.

    Args:
        sessions: Session of each row; rows of a session are consecutive.
        shuffle_sessions: Number of consecutive sessions of a group; 0 makes one group of all rows.
    """
    rows = np.arange(len(sessions), dtype=np.int64)
    if not shuffle_sessions or not len(rows):
        return [rows]
    sizes = [sum(1 for _ in members) for _, members in groupby(sessions)]
    ends = np.cumsum(sizes)[shuffle_sessions - 1 :: shuffle_sessions]
    return [group for group in np.split(rows, ends) if len(group)]


def pack_rows(rows: NDArray[np.int64], lengths: Sequence[int], most_tokens: int) -> list[Batch]:
    """Pack rows into sequences: the longest first, each into the fullest sequence with room for it (best fit decreasing).

    Args:
        rows: The rows.
        lengths: Tokens of each row of the data set.
        most_tokens: Largest number of tokens of a sequence. A longer row becomes a sequence of its own.
    """
    ordered = sorted(rows.tolist(), key=lambda row: (-lengths[row], row))
    packs: list[Batch] = []
    rooms: list[tuple[int, int]] = []  # tokens that still fit, and the pack, in order
    for row in ordered:
        at = bisect_left(rooms, (lengths[row], -1))
        if at == len(rooms):
            room, pack = most_tokens, len(packs)
            packs.append([])
        else:
            room, pack = rooms.pop(at)
        packs[pack].append(row)
        insort(rooms, (max(0, room - lengths[row]), pack))
    return packs


def epoch_batches(
    groups: Sequence[NDArray[np.int64]],
    lengths: Sequence[int],
    generator: np.random.Generator,
    *,
    batch_size: int,
    similar_lengths: bool,
) -> list[Batch]:
    """Return the padded batches of an epoch in their order.

    Args:
        groups: The rows by group.
        lengths: Tokens of each row of the data set.
        generator: Decides the order.
        batch_size: Rows of a batch.
        similar_lengths: Whether the rows of a batch have similar lengths.
    """
    batches: list[Batch] = []
    for index in generator.permutation(len(groups)):
        rows = generator.permutation(groups[index])
        if similar_lengths:
            together = max(1, min(_SORTED_TOGETHER, len(rows) // batch_size // _QUARTER))
            rows = _sorted_in_parts(rows, np.asarray(lengths), batch_size * together)
        parts = [rows[at : at + batch_size].tolist() for at in range(0, len(rows), batch_size)]
        batches += [parts[at] for at in generator.permutation(len(parts))]
    return batches


def _sorted_in_parts(rows: NDArray[np.int64], lengths: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    return np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts])
