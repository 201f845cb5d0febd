"""Rows of the Parquet files that `sca export --to parquet` writes.

Columns and row groups are read one by one, so a URL transfers the audio of the sessions that are read, and no more.
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.data.datasets.folder import DataFolder
from sca.data.duplex.load.row_source import Recent, SessionRows
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.detect import Export
from sca.data.duplex.storage.tracks import StoredTrack, tracks_of_batch
from sca.errors import InputError
from sca.textutil import first_line

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ParquetRows"]

_SESSIONS = 8
_GROUPS_OF_ROWS = 4

Group = tuple[str, int]
"""A file and the number of a row group in it."""


class ParquetRows(SessionRows):
    """A split of a Parquet export."""

    def __init__(self, folder: DataFolder, export: Export, split: str) -> None:
        """Store which files to read.

        Args:
            folder: The export.
            export: Its `export.json`.
            split: The split.
        """
        self._folder = folder
        self._row_files = [name for name in export.files if name.startswith(f"{split}/")]
        self._audio_files = [name for name in export.files if name.startswith("storage/")]
        self._files = Recent(self._open, 2 * len(export.files) + 1)
        self._groups = Recent(self._read_group, _GROUPS_OF_ROWS)
        self._sessions = Recent(self._read_session, _SESSIONS)

    @override
    def session_ids(self) -> list[str]:
        return [str(value) for value in self._column(self._row_files, "session_id")]

    @override
    def lengths(self) -> list[int]:
        import pyarrow.compute as pc

        return [
            length
            for file in self._row_files
            for length in pc.list_value_length(self._files[file].read(["input_ids"]).column(0)).to_pylist()
        ]

    @override
    def record(self, index: int) -> RowRecord:
        groups, ends = self._row_groups
        at = bisect_right(ends, index)
        first = ends[at - 1] if at else 0
        record: RowRecord = self._groups[groups[at]].slice(index - first, 1).to_pylist()[0]
        record.setdefault("unlabelled", [])
        return record

    @override
    def tables(self) -> "Iterator[pa.Table]":
        for name in self._row_files:
            file = self._files[name]
            columns = [column for column in file.schema_arrow.names if column != "input_ids"]
            yield from (file.read_row_group(group, columns) for group in range(file.num_row_groups))

    @cached_property
    def _row_groups(self) -> tuple[list[Group], list[int]]:
        """The row groups of the split, and the number of the row at which each ends."""
        groups = _groups_of({name: self._files[name] for name in self._row_files})
        sizes = [self._files[name].metadata.row_group(group).num_rows for name, group in groups]
        return groups, list(accumulate(sizes))

    @cached_property
    def _session_groups(self) -> dict[str, list[Group]]:
        """The row groups of each session."""
        found: dict[str, list[Group]] = {}
        for name in self._audio_files:
            for group, session_id in enumerate(self._sessions_of_groups(name)):
                found.setdefault(session_id, []).append((name, group))
        return found

    def _sessions_of_groups(self, name: str) -> list[str]:
        """Return the session of each row group of a file, from its footer if it has statistics."""
        metadata = self._files[name].metadata
        named = [_only_session(metadata.row_group(group)) for group in range(metadata.num_row_groups)]
        if None not in named:
            return [str(session_id) for session_id in named]
        ids = self._column([name], "session_id")  # exports of earlier versions have no statistics
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return [str(ids[end - size]) for size, end in zip(sizes, accumulate(sizes), strict=True)]

    def _column(self, files: list[str], column: str) -> list[object]:
        return [value for file in files for value in self._files[file].read([column]).column(0).to_pylist()]

    def _open(self, name: str) -> "pq.ParquetFile":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if self._folder.local is not None:
                return pq.ParquetFile(self._folder.local / name, memory_map=True)
            return pq.ParquetFile(self._folder.open(name), pre_buffer=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"{self._folder}/{name} cannot be read as Parquet: {first_line(error)}",
                hint="export it again with --force",
            ) from error

    def _read_group(self, group: Group) -> "pa.Table":
        return self._files[group[0]].read_row_group(group[1])

    def _read_session(self, session_id: str) -> dict[str, StoredTrack]:
        if session_id not in self._session_groups:
            raise InputError(
                f"{self._folder}: session {session_id} has no audio in storage", hint="sca verify lists what is broken"
            )
        tables = [self._files[name].read_row_group(group) for name, group in self._session_groups[session_id]]
        tracks = [track for table in tables for batch in table.to_batches() for track in tracks_of_batch(batch)]
        return {track.record["speaker_id"]: track for track in tracks}


def _groups_of(files: "dict[str, pq.ParquetFile]") -> list[Group]:
    return [(name, group) for name, file in files.items() for group in range(file.num_row_groups)]


def _only_session(group: "pq.RowGroupMetaData") -> str | None:
    """Return the session of a row group, or None if its statistics do not name exactly one."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == "session_id":
            found = column.statistics if column.is_stats_set else None
            return found.min if found is not None and found.has_min_max and found.min == found.max else None
    return None
