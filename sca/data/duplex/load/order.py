"""The order of rows in an epoch, shuffled by session, and how ranks and loader workers divide it.

Rows of a session share its audio. So sessions are shuffled, and then the rows of a few sessions among each other, and
every rank and worker reads consecutive rows of this order: each session is fetched by few processes.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

__all__ = ["Positions", "epoch_order", "in_loader_order", "rank_share", "worker_share"]

Positions = NDArray[np.int64]
"""Positions in the order of an epoch, or numbers of rows: int64 `(n,)`."""


def epoch_order(sessions: Sequence[str], seed: int, epoch: int, shuffle_sessions: int) -> Positions:
    """Return the numbers of all rows in the order of an epoch.

    Args:
        sessions: Session of each row; rows of a session are consecutive.
        seed: Seed of the order.
        epoch: The epoch.
        shuffle_sessions: Number of sessions whose rows are shuffled among each other; 0 keeps the stored order.
    """
    rows = np.arange(len(sessions), dtype=np.int64)
    if not shuffle_sessions:
        return rows
    sizes = [sum(1 for _ in members) for _, members in groupby(sessions)]
    blocks = np.split(rows, np.cumsum(sizes)[:-1])
    generator = np.random.default_rng((seed, epoch))
    shuffled = [blocks[i] for i in generator.permutation(len(blocks))]
    groups = []
    for first in range(0, len(shuffled), shuffle_sessions):
        group = np.concatenate(shuffled[first : first + shuffle_sessions])
        generator.shuffle(group)
        groups.append(group)
    return np.concatenate(groups) if groups else rows


def rank_share(left: Positions, rank: int, world: int, *, even: bool) -> Positions:
    """Return the positions that a rank reads.

    Args:
        left: All positions that are left in the epoch.
        rank: The rank.
        world: Number of ranks.
        even: Whether all ranks get the same number; the last ranks then get positions from the start again.
    """
    if even and len(left):
        left = np.resize(left, -(-len(left) // world) * world)
    return np.array_split(left, world)[rank]


def worker_share(share: Positions, worker: int, workers: int, batch_size: int) -> Positions:
    """Return the consecutive positions of a rank's share that a loader worker reads: whole batches, but for the last.

    Args:
        share: Positions of the rank.
        worker: Number of the worker.
        workers: Number of workers of the rank.
        batch_size: Batch size of the loader.
    """
    first, last = _batch_bounds(-(-len(share) // batch_size), worker, workers)
    return share[first * batch_size : last * batch_size]


def in_loader_order(share: Positions, workers: int, batch_size: int) -> Positions:
    """Return a rank's share in the order in which its loader returns it: one batch per worker in turn.

    Args:
        share: Positions of the rank.
        workers: Number of workers of the rank; 0 for a loader without workers.
        batch_size: Batch size of the loader.
    """
    n_batches = -(-len(share) // batch_size)
    bounds = [_batch_bounds(n_batches, worker, max(workers, 1)) for worker in range(max(workers, 1))]
    rounds = max(last - first for first, last in bounds)
    batches = [first + turn for turn in range(rounds) for first, last in bounds if first + turn < last]
    parts = [share[batch * batch_size : (batch + 1) * batch_size] for batch in batches]
    return np.concatenate(parts) if parts else share


def _batch_bounds(n_batches: int, worker: int, workers: int) -> tuple[int, int]:
    """Divide batches among workers; the first workers get one more."""
    each, more = divmod(n_batches, workers)
    first = worker * each + min(worker, more)
    return first, first + each + (worker < more)
