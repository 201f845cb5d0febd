"""Where a speaker has text on the grid, and whether two speakers begin to speak at the same places."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.load.dataset import DuplexRow

__all__ = ["Run", "Speaking", "answers_of", "labelled_chunks", "matched_onsets", "runs_of", "talks_in"]

Speaking = NDArray[np.bool_]
"""Whether the speaker speaks, for each chunk."""

_TURN_ENDS_AFTER = 2
"""Chunks without text that end a run, as in the live engine, where one silent chunk within a turn is common."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive chunks `[first, end)` in which a speaker speaks."""

    first: int
    end: int


def answers_of(row: DuplexRow) -> list[tuple[int, ...]]:
    """Return the tokens of the speaker of a row, chunk by chunk."""
    audio = np.flatnonzero(row.input_ids == row.placeholder)
    frames = max(1, len(audio) // max(1, len(row.heard)))
    last = audio[frames - 1 :: frames]  # the last audio token of each chunk
    ends = [*(int(one) - frames + 1 for one in last[1:]), len(row.input_ids)]
    return [tuple(map(int, row.input_ids[at + 1 : end])) for at, end in zip(last, ends, strict=True)]


def labelled_chunks(row: DuplexRow) -> NDArray[np.bool_]:
    """Return for each chunk whether the words of the speaker are known there."""
    known = np.ones(len(row.heard), np.bool_)
    for first, end in row.unlabelled:
        known[first:end] = False
    return known


def talks_in(answers: Sequence[Sequence[int]], quiet: Collection[int]) -> Speaking:
    """Return for each chunk whether it has a token of speech.

    Args:
        answers: Tokens of each chunk.
        quiet: Ids that are no speech: silence and the control tokens, without hold.
    """
    return np.array([any(token not in quiet for token in answer) for answer in answers], np.bool_)


def runs_of(speaking: Speaking) -> list[Run]:
    """Return the runs of speech. One chunk without speech does not end a run, two do."""
    chunks = np.flatnonzero(speaking)
    if not len(chunks):
        return []
    cuts = [0, *(k for k, (a, b) in enumerate(pairwise(chunks), 1) if b - a > _TURN_ENDS_AFTER), len(chunks)]
    return [Run(int(chunks[a]), int(chunks[b - 1]) + 1) for a, b in pairwise(cuts)]


def matched_onsets(said: Sequence[Run], wanted: Sequence[Run], tolerance: int) -> list[tuple[int, int]]:
    """Match the onsets of two speakers one to one, in the order of time.

    Taking the earliest possible partner gives the largest number of pairs, because all tolerances are equal.

    Args:
        said: Runs of one speaker, in order.
        wanted: Runs of the other, in order.
        tolerance: Largest distance of a pair, in chunks.

    Returns:
        Indices in `said` and `wanted` of each pair.
    """
    pairs, i, j = [], 0, 0
    while i < len(said) and j < len(wanted):
        distance = said[i].first - wanted[j].first
        if abs(distance) <= tolerance:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif distance < 0:
            i += 1
        else:
            j += 1
    return pairs
