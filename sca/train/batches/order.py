"""The batches of one process, epoch by epoch: a batch sampler of `torch.utils.data.DataLoader` that resumes exactly."""

from collections.abc import Iterator, Sequence

import numpy as np

from sca.config.sections.train.config import TrainConfig
from sca.data.duplex.load.order import in_loader_order
from sca.errors import ConfigError, UsageError
from sca.train.batches.plan import Batch, epoch_batches, pack_rows, row_groups

__all__ = ["BatchOrder"]


class BatchOrder:
    """The batches of a process in an epoch, as lists of row numbers. `set_epoch` starts the next order.

    The order depends on the data set, the settings, the seed, the epoch, the number of processes, and for data that is
    read session by session on the number of loader workers. So the first n batches of an epoch are always the same, and
    a run that stopped after n of them continues with the next. Every process gets the same number of batches; if they
    do not divide evenly, the last processes get batches from the start of the epoch.
    """

    def __init__(
        self, lengths: Sequence[int], sessions: Sequence[str], train: TrainConfig, *, rank: int = 0, world: int = 1
    ) -> None:
        """Create an order at the start of epoch 0.

        Args:
            lengths: Tokens of each row (`DuplexDataset.lengths`).
            sessions: Session of each row; rows of a session are consecutive.
            train: The settings. Without `shuffle_sessions`, all rows are mixed.
            rank: Rank of this process.
            world: Number of processes.

        Raises:
            UsageError: There are no rows, or the rank is not one of the world.
            ConfigError: A row is longer than a packed sequence may be.
        """
        if not len(lengths):
            raise UsageError("training needs at least one row")
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not in a world of {world}: ranks are 0 to {world - 1}")
        longest = max(lengths)
        if train.packing and longest > train.batch_tokens:
            raise ConfigError(
                f"a row has {longest} tokens, and a packed sequence at most {train.batch_tokens}",
                hint=f"set train.batch_tokens to {longest} or more, or build the data set with shorter rows (--window)",
            )
        self._lengths, self._train, self._rank, self._world = lengths, train, rank, world
        self._sessions = train.shuffle_sessions or 0
        self._groups = row_groups(sessions, self._sessions)
        # Packs do not change from epoch to epoch, or their number would.
        self._packs = [pack_rows(group, lengths, train.batch_tokens) for group in self._groups if train.packing]
        size = train.batch_size
        padded = sum(-(-len(group) // size) for group in self._groups)
        self._n_batches = sum(map(len, self._packs)) if train.packing else padded
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of batches of this process in an epoch."""
        return -(-self._n_batches // self._world)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._epoch_batches()
        order = np.resize(np.arange(self._n_batches), len(self) * self._world)
        if self._sessions:  # every process, and each of its workers, reads consecutive batches
            share = np.array_split(order, self._world)[self._rank]
            share = in_loader_order(share, self._train.workers, 1)
        else:
            share = order[self._rank :: self._world]
        return (batches[at] for at in share.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its first batch."""
        self.epoch = epoch

    @property
    def fill(self) -> float:
        """The share of the places of an epoch's batches that hold tokens: the rest is padding, or what packing left."""
        if self._train.packing:
            places = self._n_batches * self._train.batch_tokens
        else:
            places = sum(max(self._lengths[row] for row in batch) * len(batch) for batch in self._epoch_batches())
        return sum(self._lengths) / places

    def _epoch_batches(self) -> list[Batch]:
        generator = np.random.default_rng((self._train.seed, self.epoch))
        if not self._train.packing:
            return epoch_batches(
                self._groups,
                self._lengths,
                generator,
                batch_size=self._train.batch_size,
                similar_lengths=self._train.length_groups,
            )
        groups = [self._packs[at] for at in generator.permutation(len(self._packs))]
        return [group[at] for group in groups for at in generator.permutation(len(group))]
