"""The loader of training batches: worker processes read and collate ahead while the model computes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader  # noqa: TID253 - the Trainer accepts a loader of torch

from sca.config.sections.train.config import TrainConfig
from sca.data.duplex.load.dataset import DuplexDataset, DuplexRow
from sca.train.batches.collate import TrainBatch
from sca.train.batches.order import BatchOrder

__all__ = ["TrainLoader", "mixed_sessions", "train_loader"]

_SESSIONS_AT_URL = 4  # as in `DuplexRows`: a worker keeps 8 sessions in memory


class TrainLoader(DataLoader[DuplexRow]):  # type: ignore[misc]  # torch has no types here
    """A `DataLoader` in a `BatchOrder`. Its `set_epoch` is called by the `Trainer` at the start of an epoch.

    It is the share of this process already: return it from `get_train_dataloader` as it is, without
    `accelerator.prepare`, which would divide the batches a second time. After a stop, the `Trainer` skips the batches
    that were used with `accelerate.skip_first_batches`, and no row of them is read.
    """

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its first batch."""
        self.batch_sampler.set_epoch(epoch)


def train_loader(
    data: DuplexDataset,
    collate: Callable[[Sequence[DuplexRow]], TrainBatch],
    train: TrainConfig,
    *,
    rank: int = 0,
    world: int = 1,
) -> TrainLoader:
    """Return the loader of this process.

    Args:
        data: The rows.
        collate: A `TrainCollator`.
        train: The settings.
        rank: Rank of this process.
        world: Number of processes.

    Raises:
        UsageError, ConfigError: See `BatchOrder`.
    """
    import torch

    train = train.model_copy(update={"shuffle_sessions": mixed_sessions(data, train)})
    ahead: dict[str, Any] = {}
    if train.workers:
        # Workers of one epoch serve the next: their start and their first batches would be waited for.
        ahead = {"persistent_workers": True, "prefetch_factor": 2}
    return TrainLoader(
        data,
        batch_sampler=BatchOrder(data.lengths, data.sessions, train, rank=rank, world=world),
        num_workers=train.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        **ahead,
    )


def mixed_sessions(data: DuplexDataset, train: TrainConfig) -> int:
    """Return the number of consecutive sessions whose rows are mixed, 0 for all.

    Unless it is 0, the order of the batches depends on the number of loader workers.

    Args:
        data: The rows.
        train: The settings.
    """
    if train.shuffle_sessions is not None:
        return train.shuffle_sessions
    return 0 if isinstance(data.root, Path) else _SESSIONS_AT_URL
