"""The order in which a training run reads rows: shuffled by a seed, shared out among ranks, and taken up again where it was left.

Plain integers, no torch: `torch.utils.data.DataLoader(data, sampler=ResumableSampler(len(data)))` takes it as it is.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sca.errors import InputError, UsageError

__all__ = ["ResumableSampler"]


class ResumableSampler:
    """Row numbers of one rank for one epoch; `set_epoch` gives the next order.

    Every rank gets the same number of rows: where they do not divide, the last ones are filled up from the epoch's start. Raises
    `UsageError` for no rows or a rank outside the world.
    """

    def __init__(self, n_rows: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1) -> None:
        if n_rows < 1:
            raise UsageError(f"a sampler needs at least one row, got {n_rows}")
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not in a world of {world}: ranks are 0 to {world - 1}")
        self.n_rows, self.seed, self.shuffle, self.rank, self.world = n_rows, seed, shuffle, rank, world
        self.epoch = 0
        self._used = 0

    def __len__(self) -> int:
        """Rows this rank still has in this epoch."""
        return -(-(self.n_rows - self._used) // self.world)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.n_rows)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        left = order[self._used :]
        filled = np.concatenate([left, np.resize(order, len(self) * self.world - len(left))])
        return iter(filled[self.rank :: self.world].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Start this epoch from its first row."""
        self.epoch, self._used = epoch, 0

    def state_dict(self, rows_used: int) -> dict[str, Any]:
        """Where training stands after this rank used `rows_used` rows since the sampler was made, loaded or given an epoch.

        The training loop counts, not the sampler: loader workers fetch ahead of it, and what they fetched is not yet used. The
        state holds for all ranks, and for another world size.
        """
        if not 0 <= rows_used <= len(self):
            raise UsageError(f"{rows_used} rows used, but this rank has {len(self)} in this epoch")
        used = min(self.n_rows, self._used + rows_used * self.world)
        return {"n_rows": self.n_rows, "seed": self.seed, "shuffle": self.shuffle, "epoch": self.epoch, "used": used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`. Raises `InputError` where it was made for other rows or another order."""
        for name in ("n_rows", "seed", "shuffle"):
            if state[name] != getattr(self, name):
                raise InputError(
                    f"the sampler's state was saved with {name} = {state[name]}, this run has {getattr(self, name)}",
                    hint="resume with the data set and the seed the run began with",
                )
        self.epoch, self._used = state["epoch"], state["used"]
