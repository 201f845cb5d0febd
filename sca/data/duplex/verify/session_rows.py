"""The rows of each session of a data set: found by the session ids in the tables, and read session by session."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.storage.detect import Export, StoredRow, stored_rows
from sca.data.duplex.storage.writer import complete, features, open_split
from sca.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RowsOfSessions", "TakeRows", "arrow_rows", "exported_rows"]

TakeRows = Callable[[], dict[str, list[StoredRow]]]
"""Reads the rows of a session by split, without splits that have none."""

_Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of the files of a table."""


@dataclass(frozen=True, slots=True)
class RowsOfSessions:
    """The rows of all sessions.

    Attributes:
        of: Reads the rows of each session. Called in the order of the sessions, unless the rows are in Arrow files.
        rest: Returns the ids of the rows of no session, and of those that are out of order. Called at the end.
        problems: What was found to be wrong while rows were read, as messages about their audio.
    """

    of: Mapping[str, TakeRows]
    rest: Callable[[], list[str]]
    problems: list[str] = field(default_factory=list)


def arrow_rows(root: Path, splits: Sequence[str], sessions: Sequence[str]) -> RowsOfSessions:
    """Find the rows in the tables of an Arrow folder. They can be read in any order, and in other processes.

    Args:
        root: The data set.
        splits: Its splits.
        sessions: Its sessions, in order.

    Raises:
        InputError: A table cannot be read, or does not have the columns of rows.
    """
    ranges: dict[str, list[tuple[str, int, int]]] = {session: [] for session in sessions}
    rest: list[str] = []
    stamps = {split: _stamp(root, split) for split in splits}
    for split in splits:
        table = _table(root, split, stamps[split])
        _check_columns(root, split, table.schema.names)
        at = left = 0
        places = {session: place for place, session in enumerate(sessions)}
        for session, members in groupby(table.column("session_id").to_pylist()):
            end = at + sum(1 for _ in members)
            if places.get(session, -1) >= left:
                ranges[session].append((split, at, end))
                left = places[session] + 1
            else:
                rest += table.column("row_id").slice(at, end - at).to_pylist()
            at = end
    of = {session: partial(_read_ranges, root, stamps, found) for session, found in ranges.items()}
    return RowsOfSessions(of, lambda: rest)


def _read_ranges(
    root: Path, stamps: Mapping[str, _Stamp], ranges: Sequence[tuple[str, int, int]]
) -> dict[str, list[StoredRow]]:
    return {
        split: [StoredRow(row) for row in _table(root, split, stamps[split]).slice(first, last - first).to_pylist()]
        for split, first, last in ranges
    }


def _stamp(root: Path, split: str) -> _Stamp:
    try:
        found = [(path.name, path.stat()) for path in open_split(root, split)]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found)


@lru_cache(maxsize=2)
def _table(root: Path, split: str, stamp: _Stamp) -> "pa.Table":
    """Open a split as a mapped table, once per process."""
    import pyarrow as pa

    batches = [complete(batch, "rows") for file in open_split(root, split) for batch in iter_batches(file)]
    return pa.Table.from_batches(batches) if batches else features("rows").arrow_schema.empty_table()


def exported_rows(
    root: Path, export: Export, splits: Sequence[str], sessions: Sequence[str], settings: Settings
) -> RowsOfSessions:
    """Read the rows of an export, in the order of its sessions and in this process.

    Args:
        root: The export.
        export: Its export record.
        splits: Its splits.
        sessions: Its sessions, in order.
        settings: The settings of the data set.
    """
    problems: list[str] = []

    def rows(split: str) -> Iterator[StoredRow]:
        for row in stored_rows(root, export, split, settings.grid, problems.append):
            _check_columns(root, split, list(row.record))
            yield row

    streams = {split: _RowStream(rows(split)) for split in splits}

    def take(session: str) -> dict[str, list[StoredRow]]:
        return {split: taken for split, stream in streams.items() if (taken := stream.take(session))}

    def rest() -> list[str]:
        return [row_id for stream in streams.values() for row_id in stream.rest()]

    return RowsOfSessions({session: partial(take, session) for session in sessions}, rest, problems)


class _RowStream:
    """The rows of a split in file order, taken session by session."""

    def __init__(self, rows: Iterator[StoredRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def take(self, session_id: str) -> list[StoredRow]:
        """Return the next rows if they belong to this session."""
        taken = []
        while self._next is not None and self._next.record["session_id"] == session_id:
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken

    def rest(self) -> list[str]:
        """Return the ids of all rows that were not taken."""
        rest = [] if self._next is None else [self._next.record["row_id"]]
        return rest + [row.record["row_id"] for row in self._rows]


def _check_columns(root: Path, split: str, columns: Sequence[str]) -> None:
    if list(columns) != list(features("rows")):
        raise InputError(
            f"{root}: {split} does not have the columns of a duplex data set", hint="build the data set again"
        )
