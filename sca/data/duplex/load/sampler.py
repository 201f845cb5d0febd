"""The order in which a training run reads rows: shuffled by a seed, divided among ranks, and resumable.

Plain integers without torch: `torch.utils.data.DataLoader(data, sampler=ResumableSampler(len(data)))` accepts it as it
is.
"""

from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from sca.errors import InputError, UsageError

__all__ = ["ResumableSampler", "SamplerState"]


class SamplerState(TypedDict):
    """A position in an epoch: the arguments of the sampler, the epoch, and the rows that all ranks together have used."""

    n_rows: int
    seed: int
    shuffle: bool
    epoch: int
    used: int


class ResumableSampler:
    """Row numbers of one rank for one epoch. `set_epoch` starts the next order.

    Every rank gets the same number of rows: if they do not divide evenly, the last ranks get rows from the start of the
    epoch.
    """

    def __init__(self, n_rows: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1) -> None:
        """Create a sampler at the start of epoch 0.

        Args:
            n_rows: Number of rows.
            seed: Seed of the order.
            shuffle: Whether the rows are shuffled.
            rank: Rank of this process.
            world: Number of processes.

        Raises:
            UsageError: `n_rows` is 0, or the rank is not one of the world.
        """
        if n_rows < 1:
            raise UsageError(f"a sampler needs at least one row, got {n_rows}")
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not in a world of {world}: ranks are 0 to {world - 1}")
        self.n_rows, self.seed, self.shuffle, self.rank, self.world = n_rows, seed, shuffle, rank, world
        self.epoch = 0
        self._used = 0

    def __len__(self) -> int:
        """Return the number of rows that this rank still has in this epoch."""
        return -(-(self.n_rows - self._used) // self.world)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.n_rows)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        left = order[self._used :]
        filled = np.concatenate([left, np.resize(order, len(self) * self.world - len(left))])
        return iter(filled[self.rank :: self.world].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its first row."""
        self.epoch, self._used = epoch, 0

    def state_dict(self, rows_used: int) -> SamplerState:
        """Return the position after this rank used rows. It is valid for all ranks, and for another world size.

        The training loop counts the rows, not the sampler: loader workers fetch rows ahead of their use.

        Args:
            rows_used: Rows used by this rank since the sampler was created, loaded or given an epoch.
        """
        if not 0 <= rows_used <= len(self):
            raise UsageError(f"{rows_used} rows used, but this rank has {len(self)} in this epoch")
        used = min(self.n_rows, self._used + rows_used * self.world)
        return {"n_rows": self.n_rows, "seed": self.seed, "shuffle": self.shuffle, "epoch": self.epoch, "used": used}

    def load_state_dict(self, state: SamplerState) -> None:
        """Continue from a `state_dict`.

        Raises:
            InputError: The state belongs to other rows or another order.
        """
        for name, found, value in (
            ("n_rows", state["n_rows"], self.n_rows),
            ("seed", state["seed"], self.seed),
            ("shuffle", state["shuffle"], self.shuffle),
        ):
            if found != value:
                raise InputError(
                    f"the sampler's state was saved with {name} = {found}, this run has {value}",
                    hint="resume with the data set and the seed that the run began with",
                )
        self.epoch, self._used = state["epoch"], state["used"]
