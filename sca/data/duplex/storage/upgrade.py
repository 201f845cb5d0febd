"""Tracks of data sets of earlier versions, which lack columns of this one."""

from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.storage.writer import complete, features, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sca.data.datasets.arrow import Columns

__all__ = ["upgrade_storage"]


def upgrade_storage(file: Path) -> None:
    """Write the table of a session's tracks again if it is of an earlier version, because all files need one schema."""
    first = next(iter_batches(file), None)
    if first is None or first.schema.equals(features("storage").arrow_schema):
        return
    del first

    def batches() -> "Iterator[Columns]":
        for batch in (complete(batch, "storage") for batch in iter_batches(file)):
            yield dict(zip(batch.schema.names, batch.columns, strict=True))

    write_table(file, "storage", batches())
