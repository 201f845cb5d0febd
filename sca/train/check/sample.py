"""The batch of a check: two short pieces of rows, as the training makes batches."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import numpy as np

from sca.data.duplex.load.dataset import DuplexRow
from sca.errors import InputError
from sca.train.evaluation.runs import answers_of

__all__ = ["MOST_CHUNKS", "piece_of", "two_pieces"]

MOST_CHUNKS = 12
"""Chunks of a piece: enough for a turn to begin, and some seconds in the live loop of the largest model."""
_LEAST_CHUNKS = 4
_LOOKED_AT = 64


def two_pieces(rows: Iterable[DuplexRow]) -> tuple[DuplexRow, DuplexRow]:
    """Return a piece with text and silence, and another piece beside it; the same one if there is no other.

    Args:
        rows: The rows, of which only the first are read.

    Raises:
        InputError: None of them has text and silence.
    """
    long = (row for row in islice(rows, _LOOKED_AT) if len(row.heard) >= _LEAST_CHUNKS)
    pieces = list(islice(filter(None, map(_with_text, long)), 2))
    if not pieces:
        raise InputError(
            f"none of the first {_LOOKED_AT} rows has {_LEAST_CHUNKS} chunks with text and silence, which the check needs",
            hint="see sca inspect, or leave the check out with train.check=false",
        )
    return pieces[0], pieces[-1]


def _with_text(row: DuplexRow) -> DuplexRow | None:
    """Return the first piece of a row that has text and silence; None if it has none."""
    for first in range(0, max(1, len(row.heard) - _LEAST_CHUNKS + 1), MOST_CHUNKS // 2):
        piece = piece_of(row, first, first + MOST_CHUNKS)
        silent = [set(answer) == {row.silence_id} for answer in answers_of(piece)]
        if any(silent) and not all(silent):
            return piece
    return None


def piece_of(row: DuplexRow, first: int, end: int) -> DuplexRow:
    """Return the chunks `[first, end)` of a row, with its prompt.

    Args:
        row: The row.
        first: The first chunk.
        end: The chunk after the last one; the end of the row if it is beyond.
    """
    end = min(end, len(row.heard))
    audio = np.flatnonzero(row.input_ids == row.placeholder)
    frames = max(1, len(audio) // len(row.heard))
    edges = [*audio[::frames], len(row.input_ids)]
    ids = np.concatenate([row.input_ids[: edges[0]], row.input_ids[edges[first] : edges[end]]])
    return replace(
        row,
        input_ids=ids,
        heard=row.heard[first:end],
        spoken=row.spoken[first:end],
        segments=[],
        listener_words=None,
        controls=(),
        codes=None,
        unlabelled=(),
        listener_unlabelled=(),
    )
