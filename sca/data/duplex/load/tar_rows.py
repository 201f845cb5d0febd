"""Rows of the tar files that `sca export --to webdataset` writes. A row is one range of bytes in its file."""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.data.datasets.folder import DataFolder
from sca.data.duplex.load.row_source import Recent, RowSource, Sides
from sca.data.duplex.model.heard import heard_speakers
from sca.data.duplex.model.records import RowRecord, TrackRecord
from sca.data.duplex.storage.detect import ROWS_FILE, SESSIONS_FILE, Export
from sca.data.duplex.storage.tar_index import TarRow, TarSample, first_member, index_tar, read_sample
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.duplex.storage.writer import features
from sca.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TarRows"]

_SAMPLES = 2
_TRACKS = 64
_HEADER_BYTES = 64 << 10  # what a search for headers requests at a time
_ROWS_PER_TABLE = 128


class TarRows(RowSource):
    """A split of a WebDataset export."""

    def __init__(self, folder: DataFolder, export: Export, split: str) -> None:
        """Store which files to read.

        Args:
            folder: The export.
            export: Its `export.json`.
            split: The split.
        """
        self._folder = folder
        self._split = split
        self._files = [name for name in export.files if name.startswith(f"{split}-")]
        self._samples = Recent(self._read_sample, _SAMPLES)
        self._tracks = Recent(self._read_track, _TRACKS)

    @override
    def session_ids(self) -> list[str]:
        return [row.session_id for row in self._rows]

    @override
    def lengths(self) -> list[int]:
        return [row.n_tokens for row in self._rows]

    @override
    def record(self, index: int) -> RowRecord:
        return self._samples[index].record

    @override
    def sides(self, index: int, row: RowRecord) -> Sides:
        sample = self._samples[index]
        codes = sample.codes
        session = row["session_id"]
        heard = heard_speakers(row["listener"], row["speaker"], self._speakers[session])
        return Sides(
            listeners=tuple(self._tracks[session, name] for name in heard),
            heard=(_buffer(sample.heard),),
            speaker=StoredTrack(
                _buffer(b""),
                _buffer(sample.spoken),
                self._tracks[session, row["speaker"]].record,
                None if codes is None else codes.reshape(len(codes), -1),
            ),
            first_chunk=0,
        )

    @override
    def track(self, session_id: str, speaker_id: str) -> StoredTrack:
        return self._tracks[session_id, speaker_id]

    @override
    def tables(self) -> "Iterator[pa.Table]":
        import pyarrow as pa

        schema = features("rows").arrow_schema
        schema = schema.remove(schema.get_field_index("input_ids"))
        for at in range(0, len(self._rows), _ROWS_PER_TABLE):
            records = [self._read_record(row) for row in self._rows[at : at + _ROWS_PER_TABLE]]
            yield pa.Table.from_pylist(records, schema)

    def _read_record(self, row: TarRow) -> RowRecord:
        """Return a row without its tokens: the first file of its sample, which is before the audio."""
        size = min(row.size, _HEADER_BYTES)
        content = first_member(self._folder.read_range(row.file, row.offset, size))
        if content is None:  # a longer text
            content = first_member(self._folder.read_range(row.file, row.offset, row.size))
        try:
            record: RowRecord = json.loads(content or b"")
            record.setdefault("unlabelled", [])
        except ValueError as error:
            raise InputError(
                f"{self._folder}/{row.file}: {row.row_id} is not a row", hint="export it again with --force"
            ) from error
        return record

    @cached_property
    def _rows(self) -> list[TarRow]:
        """Where each row is. Exports of earlier versions have no list of rows; their tar files are searched."""
        try:
            content = self._folder.read(ROWS_FILE)
        except FileNotFoundError:
            return [row for name in self._files for row in self._search(name)]
        try:
            rows = [TarRow(**json.loads(line)) for line in content.splitlines()]
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self._folder}/{ROWS_FILE} cannot be read: {error}", hint="export it again with --force"
            ) from error
        return [row for row in rows if row.split == self._split]

    def _search(self, name: str) -> list[TarRow]:
        with self._folder.open(name, ahead=_HEADER_BYTES) as file:
            return list(index_tar(file, name, self._split))

    @cached_property
    def _session_lines(self) -> dict[tuple[str, str], bytes]:
        """The line of each track in the list of sessions."""
        try:
            lines = self._folder.read(SESSIONS_FILE).splitlines()
            records = ((json.loads(line), line) for line in lines)
            return {(record["session_id"], record["speaker_id"]): line for record, line in records}
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self._folder}/{SESSIONS_FILE} cannot be read: {error}", hint="export it again with --force"
            ) from error

    @cached_property
    def _speakers(self) -> dict[str, list[str]]:
        """The speakers of each session, in order."""
        found: dict[str, list[str]] = {}
        for session, speaker in self._session_lines:
            found.setdefault(session, []).append(speaker)
        return found

    def _read_sample(self, index: int) -> TarSample:
        row = self._rows[index]
        sample = read_sample(self._folder.read_range(row.file, row.offset, row.size), f"{self._folder}/{row.file}")
        if sample.record["row_id"] != row.row_id:
            raise InputError(
                f"{self._folder}/{ROWS_FILE} does not match {row.file}: {row.row_id} is not at byte {row.offset}",
                hint="export it again with --force",
            )
        return sample

    def _read_track(self, key: tuple[str, str]) -> StoredTrack:
        if key not in self._session_lines:
            raise InputError(f"{self._folder}/{SESSIONS_FILE} has no track of {key[1]} in {key[0]}")
        record: TrackRecord = json.loads(self._session_lines[key])
        record.setdefault("unlabelled", [])
        return StoredTrack(_buffer(b""), _buffer(b""), record)


def _buffer(content: bytes) -> "pa.Buffer":
    import pyarrow as pa

    return pa.py_buffer(content)
