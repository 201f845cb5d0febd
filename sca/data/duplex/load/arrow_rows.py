"""Rows of the Arrow folder that `sca build-duplex` writes: memory-mapped on disk, read file by file at a URL."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.data.datasets.folder import DataFolder
from sca.data.duplex.load.row_source import Recent, SessionRows
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks, tracks_of_batch
from sca.data.duplex.storage.writer import features, open_split
from sca.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArrowRows"]

_MAPPED_SESSIONS = 32
_FETCHED_SESSIONS = 8


class ArrowRows(SessionRows):
    """A split of an Arrow folder."""

    def __init__(self, folder: DataFolder, split: str) -> None:
        """Find the files.

        Args:
            folder: The data set.
            split: The split.

        Raises:
            InputError: The folder is not a data set, or has no such split.
        """
        self._folder = folder
        self._row_files = _files(folder, split)
        self._session_files = {PurePosixPath(name).stem: name for name in _files(folder, "storage")}
        kept = _FETCHED_SESSIONS if folder.local is None else _MAPPED_SESSIONS
        self._sessions = Recent(self._read_session, kept)

    @override
    def session_ids(self) -> list[str]:
        ids: list[str] = self._table.column("session_id").to_pylist()
        return ids

    @override
    def lengths(self) -> list[int]:
        import pyarrow.compute as pc

        lengths: list[int] = pc.list_value_length(self._table.column("input_ids")).to_pylist()
        return lengths

    @override
    def record(self, index: int) -> RowRecord:
        record: RowRecord = self._table.slice(index, 1).to_pylist()[0]
        record.setdefault("unlabelled", [])
        return record

    @override
    def tables(self) -> "Iterator[pa.Table]":
        for batch in self._table.drop_columns(["input_ids"]).to_batches():
            yield _table_of(batch)

    @cached_property
    def _table(self) -> "pa.Table":
        import pyarrow as pa

        tables = []
        for name in self._row_files:
            if self._folder.local is None:
                tables.append(pa.ipc.open_stream(pa.BufferReader(self._folder.read(name))).read_all())
            else:
                with pa.memory_map(str(self._folder.local / name), "r") as source:
                    tables.append(pa.ipc.open_stream(source).read_all())
        return pa.concat_tables(tables) if tables else features("rows").arrow_schema.empty_table()

    def _read_session(self, session_id: str) -> dict[str, StoredTrack]:
        name = self._session_files.get(session_id)
        if name is None:
            raise InputError(
                f"{self._folder}: session {session_id} has no audio in storage", hint="sca verify lists what is broken"
            )
        if self._folder.local is None:
            tracks = _fetched_tracks(self._folder.read(name))
        else:
            tracks = stored_tracks(self._folder.local / name)
        return {track.record["speaker_id"]: track for track in tracks}


def _table_of(batch: "pa.RecordBatch") -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _fetched_tracks(content: bytes) -> list[StoredTrack]:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.BufferReader(content)) as reader:
        return [track for batch in reader for track in tracks_of_batch(batch)]


def _files(folder: DataFolder, split: str) -> list[str]:
    """Return the names of the Arrow files of a split, in order."""
    if folder.local is not None:
        return [str(path.relative_to(folder.local)) for path in open_split(folder.local, split)]
    state = f"{split}/state.json"
    try:
        return [f"{split}/{entry['filename']}" for entry in json.loads(folder.read(state))["_data_files"]]
    except FileNotFoundError as error:
        raise InputError(f"{folder} is not a duplex data set with {split}: {state} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/{state} cannot be read: {error}") from error
