"""Stream the rows of a data set to training: shuffled, divided among ranks and loader workers, and resumable."""

import os
from collections.abc import Iterator, Mapping
from typing import TypedDict

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info  # noqa: TID253 - torch's loader requires its base class
from typing_extensions import override

from sca.data.duplex.load.dataset import DuplexDataset, DuplexRow, load
from sca.data.duplex.load.order import Positions, epoch_order, in_loader_order, rank_share, worker_share
from sca.errors import InputError, UsageError

__all__ = ["DuplexRows", "RowsState", "Stage"]


class Stage(TypedDict):
    """A part of an epoch that was read with the same division: the arguments of `DuplexRows`, and rows used per rank."""

    world: int
    workers: int
    batch_size: int
    even: bool
    rows_used: int


class RowsState(TypedDict):
    """A position in an epoch: what determines the order, and the parts that were read."""

    n_rows: int
    seed: int
    shuffle_sessions: int
    epoch: int
    stages: list[Stage]


class DuplexRows(IterableDataset[DuplexRow]):  # type: ignore[misc]  # torch has no types here
    """The rows of a data set as a stream, for `torch.utils.data.DataLoader`.

    Every row is read once per epoch, by one worker of one rank. Ranks and workers read consecutive rows of an order
    that keeps sessions together, so the audio of a session is fetched by few processes. The order depends on the seed
    and the epoch only, and is the same for a data set, its exports, and their copies at a URL.

    Attributes:
        data: The data set that is read.

    Example:
        >>> import sca
        >>> rows = sca.DuplexRows("my_data", seed=0)
        >>> first = [row.row_id for row, _ in zip(rows, range(3))]
        >>> state = rows.state_dict(rows_used=3)
        >>> rows.load_state_dict(state)
        >>> len(first) + sum(1 for _ in rows) == len(rows.data)
        True
    """

    def __init__(
        self,
        data: "str | os.PathLike[str] | DuplexDataset",
        split: str = "train",
        *,
        seed: int = 0,
        shuffle_sessions: int = 4,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        batch_size: int = 1,
        even: bool = True,
        storage_options: Mapping[str, object] | None = None,
    ) -> None:
        """Open a split at the start of epoch 0.

        Args:
            data: A folder, a URL, or an opened data set; see `sca.load`.
            split: The split. Of no effect if `data` is an opened data set.
            seed: Seed of the order.
            shuffle_sessions: Number of sessions whose rows are shuffled among each other; 0 keeps the stored order. A
                worker keeps up to 8 sessions of Parquet files or of a URL in memory.
            rank: Rank of this process.
            world: Number of ranks.
            workers: `num_workers` of the loader.
            batch_size: `batch_size` of the loader.
            even: Whether all ranks get the same number of rows; if they do not divide evenly, the last ranks get rows
                from the start of the order again.
            storage_options: Arguments of the file system of a URL.

        Raises:
            UsageError: The rank is not one of the world, or a number is out of range.
            InputError: `data` is not a duplex data set, or has no such split.
        """
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not in a world of {world}: ranks are 0 to {world - 1}")
        if batch_size < 1 or workers < 0 or shuffle_sessions < 0:
            raise UsageError("batch_size must be at least 1, workers and shuffle_sessions at least 0")
        self.data = data if isinstance(data, DuplexDataset) else load(data, split, storage_options=storage_options)
        self._seed, self._shuffle_sessions = seed, shuffle_sessions
        self._rank, self._world, self._even = rank, world, even
        self._workers, self._batch_size = workers, batch_size
        self._epoch = 0
        self._stages: list[Stage] = []

    def __len__(self) -> int:
        """Return the number of rows that this rank still has in this epoch."""
        return len(self._share())

    @override
    def __iter__(self) -> Iterator[DuplexRow]:
        """Read the rows of this process.

        Raises:
            UsageError: The loader has another number of workers than this object.
        """
        share, info = self._share(), get_worker_info()
        if info is not None:
            if info.num_workers != self._workers:
                raise UsageError(
                    f"the loader has {info.num_workers} workers, these rows are divided among {self._workers}",
                    hint=f"create DuplexRows with workers={info.num_workers}",
                )
            share = worker_share(share, info.id, info.num_workers, self._batch_size)
        else:
            share = in_loader_order(share, self._workers, self._batch_size)
        order = self._order()
        return (self.data[int(order[position])] for position in share)

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its first row. A loader with `persistent_workers=True` would not notice it."""
        self._epoch, self._stages = epoch, []

    def state_dict(self, rows_used: int) -> RowsState:
        """Return the position after this rank used rows. It is valid for all ranks, and for other worlds and workers.

        The training loop counts the rows, because loader workers read ahead of their use.

        Args:
            rows_used: Rows used by this rank since this object was created, loaded or given an epoch.

        Raises:
            UsageError: The rank does not have so many rows.
        """
        if not 0 <= rows_used <= len(self):
            raise UsageError(f"{rows_used} rows used, but this rank has {len(self)} in this epoch")
        stage: Stage = {
            "world": self._world,
            "workers": self._workers,
            "batch_size": self._batch_size,
            "even": self._even,
            "rows_used": rows_used,
        }
        return {
            "n_rows": len(self.data),
            "seed": self._seed,
            "shuffle_sessions": self._shuffle_sessions,
            "epoch": self._epoch,
            "stages": [*self._stages, stage] if rows_used else list(self._stages),
        }

    def load_state_dict(self, state: RowsState) -> None:
        """Continue from a `state_dict`.

        Raises:
            InputError: The state belongs to other rows or another order.
        """
        for name, found, value in (
            ("n_rows", state["n_rows"], len(self.data)),
            ("seed", state["seed"], self._seed),
            ("shuffle_sessions", state["shuffle_sessions"], self._shuffle_sessions),
        ):
            if found != value:
                raise InputError(
                    f"the state was saved with {name} = {found}, this run has {value}",
                    hint="resume with the data set and the seed that the run began with",
                )
        self._epoch, self._stages = state["epoch"], [*state["stages"]]

    def _order(self) -> Positions:
        return epoch_order(self.data.sessions, self._seed, self._epoch, self._shuffle_sessions)

    def _share(self) -> Positions:
        """Return the positions that this rank still has, as positions in the order of the epoch."""
        left = np.arange(len(self.data), dtype=np.int64)
        for stage in self._stages:
            left = _without_used(left, stage)
        return rank_share(left, self._rank, self._world, even=self._even)


def _without_used(left: Positions, stage: Stage) -> Positions:
    """Return the positions that no rank used in a stage, in order."""
    used = []
    for rank in range(stage["world"]):
        share = rank_share(left, rank, stage["world"], even=stage["even"])
        used.append(in_loader_order(share, stage["workers"], stage["batch_size"])[: stage["rows_used"]])
    return left[~np.isin(left, np.concatenate(used))]
