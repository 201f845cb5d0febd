"""Find the sessions and rows of a data set: in the Arrow folder that was built, or in an export that keeps the grid.

Sessions are read one at a time, so memory does not grow with the data set. This module locates data;
`sca.data.duplex.verify` decides whether they are correct.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from sca.audio.decoder.sndfile import open_stored
from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.model.records import RowRecord, TrackRecord
from sca.data.duplex.storage.tar_index import content_of, npy_array
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks, tracks_of_batch
from sca.data.duplex.storage.writer import complete, open_split
from sca.data.runs.files import sha256_of
from sca.errors import InputError
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "EXPORT_FILE",
    "ROWS_FILE",
    "SESSIONS_FILE",
    "SPLITS_FILE",
    "Export",
    "StoredRow",
    "StoredSession",
    "broken_files",
    "export_of",
    "grid_export_of",
    "parse_export",
    "splits_of",
    "stored_rows",
    "stored_sessions",
]

EXPORT_FILE = "export.json"
GRID_FORMATS = ("parquet", "webdataset")
"""Export formats that keep the rows, and so can be verified."""
SESSIONS_FILE = "sessions.jsonl"
"""The tracks of a webdataset without audio: one JSON line per record of `storage`."""
SPLITS_FILE = "dataset_dict.json"
"""The splits of an Arrow data set; written when it is finished."""
ROWS_FILE = "rows.jsonl"
"""Where each row of a webdataset is in its tar files: one JSON line per row."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that can be read.

    Attributes:
        name: Session id that the storage claims.
        location: Where it is stored, for messages.
        has_audio: Whether its tracks have audio.
        read: Reads its tracks.
        file: The file it is in.
    """

    name: str
    location: str
    has_audio: bool
    read: Callable[[], list[StoredTrack]]
    file: Path


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of a split. `heard` is the audio file of the listener if the row carries its own audio (webdataset)."""

    record: RowRecord
    heard: bytes | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """The `export.json` of a finished export.

    Attributes:
        format: Export format.
        splits: Splits of rows, in order.
        files: Size and SHA-256 of each file by its name, in order.
    """

    format: str
    splits: list[str]
    files: dict[str, tuple[int, str]]

    def shards(self, root: Path, prefix: str) -> list[Path]:
        """Return the files with names that start with `prefix`, in order."""
        return [root / name for name in self.files if name.startswith(prefix)]


def export_of(root: Path) -> Export | None:
    """Read the `export.json` of an export.

    Returns:
        The export; None if `root` is not an export.

    Raises:
        InputError: The file is broken.
    """
    path = root / EXPORT_FILE
    try:
        return parse_export(path.read_bytes(), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", hint="export it again with --force") from error


def parse_export(text: bytes, path: object) -> Export:
    """Parse the content of an `export.json`. `path` names it in messages. Raises `InputError` if it is broken."""
    try:
        document = json.loads(text)
        files = {
            file["name"]: (int(file["bytes"]), str(file["sha256"]))
            for shard in document["shards"]
            for file in shard["files"]
        }
        return Export(str(document["format"]), list(document["splits"]), files)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="export it again with --force") from error


def grid_export_of(root: Path) -> Export | None:
    """Do as `export_of`, and raise `InputError` for an export format that does not keep the grid."""
    export = export_of(root)
    if export is not None and export.format not in GRID_FORMATS:
        raise InputError(
            f"{root} is a {export.format} export: audio and words without the grid",
            hint="verify the data set that it was made from: the audio and words are the same",
        )
    return export


def broken_files(root: Path, export: Export | None) -> list[str]:
    """Return one message for each file of an export that is not what was written."""
    problems = []
    for name, (size, digest) in export.files.items() if export is not None else ():
        try:
            found = sha256_of(root / name)
        except OSError as error:
            problems.append(f"{name}: cannot be read ({error.strerror})")
            continue
        if found != digest:
            problems.append(f"{name}: not the {counted(size, 'byte')} that were exported (the SHA-256 differs)")
    return problems


def splits_of(root: Path, export: Export | None) -> list[str]:
    """Return the splits of rows, in order.

    Raises:
        InputError: `root` is not a finished data set.
    """
    if export is not None:
        return export.splits
    path = root / SPLITS_FILE
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["splits"]
        named = [str(name) for name in names if name != "storage"]
        # Folders that are splits belong to the data set even if dataset_dict.json does not list them.
        return named + sorted({state.parent.name for state in root.glob("*/state.json")} - {*named, "storage"})
    except FileNotFoundError as error:
        raise InputError(
            f"{root} is not a finished data set: it has no dataset_dict.json",
            hint="run the same sca build-duplex again, it continues",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def stored_sessions(root: Path, export: Export | None) -> list[StoredSession]:
    """Return the sessions of a data set, in order."""
    match export:
        case None:
            files = open_split(root, "storage")
            return [StoredSession(file.stem, file.name, True, partial(stored_tracks, file), file) for file in files]
        case Export(format="parquet"):
            return [session for file in export.shards(root, "storage/") for session in _parquet_sessions(file)]
        case _:
            return _listed_sessions(root / SESSIONS_FILE)


def stored_rows(
    root: Path, export: Export | None, split: str, grid: Grid, on_problem: Callable[[str], None]
) -> Iterator[StoredRow]:
    """Iterate over the rows of a split, in order.

    Args:
        root: The data set.
        export: Its export record; None for an Arrow folder.
        split: Name of the split.
        grid: The grid of the data set.
        on_problem: Called with a message for each row that carries wrong audio (webdataset).
    """
    match export:
        case None:
            for file in open_split(root, split):
                for batch in iter_batches(file):
                    yield from map(StoredRow, complete(batch, "rows").to_pylist())
        case Export(format="parquet"):
            for file in export.shards(root, f"{split}/"):
                for batch in _parquet_batches(file, None):
                    yield from map(StoredRow, complete(batch, "rows").to_pylist())
        case _:
            for file in export.shards(root, f"{split}-"):
                yield from _tar_rows(file, grid, on_problem)


def _open_parquet(file: Path) -> "pq.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} cannot be read as Parquet: {error}", hint="export it again with --force") from error


def _parquet_batches(file: Path, groups: list[int] | None) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    with _open_parquet(file) as parquet:
        try:
            yield from parquet.iter_batches(row_groups=groups, batch_size=128)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"{file} cannot be read as Parquet: {error}", hint="export it again with --force"
            ) from error


def _parquet_sessions(file: Path) -> list[StoredSession]:
    with _open_parquet(file) as parquet:
        ids = [
            parquet.read_row_group(group, columns=["session_id"]).column(0)[0].as_py()
            for group in range(parquet.num_row_groups)
        ]

    def read(groups: list[int]) -> list[StoredTrack]:
        return [track for batch in _parquet_batches(file, groups) for track in tracks_of_batch(batch)]

    return [
        StoredSession(session_id, f"{file.name} {session_id}", True, partial(read, list(groups)), file)
        for session_id, groups in groupby(range(len(ids)), key=ids.__getitem__)
    ]


def _listed_sessions(file: Path) -> list[StoredSession]:
    try:
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        grouped = [
            (key, list(members)) for key, members in groupby(records, key=lambda record: str(record["session_id"]))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="export it again with --force") from error

    def read(members: list[TrackRecord]) -> list[StoredTrack]:
        import pyarrow as pa

        no_audio = pa.py_buffer(b"")
        for record in members:
            record.setdefault("unlabelled", [])
        return [StoredTrack(no_audio, no_audio, record) for record in members]

    return [StoredSession(key, f"{file.name} {key}", False, partial(read, members), file) for key, members in grouped]


def _tar_rows(file: Path, grid: Grid, on_problem: Callable[[str], None]) -> Iterator[StoredRow]:
    """Iterate over the rows of a webdataset shard, and check that their audio has the length of their chunks."""
    try:
        with tarfile.open(file, "r:") as tar:
            members = ((member.name.partition("."), member) for member in tar if member.isfile())
            for key, group in groupby(members, key=lambda member: member[0][0]):
                parts = {name[2]: content_of(tar, member) for name, member in group}
                try:
                    row: RowRecord = json.loads(parts["json"])
                    row.setdefault("unlabelled", [])
                    row["input_ids"] = npy_array(parts["input_ids.npy"]).tolist()
                    n_chunks = int(row["n_chunks"])
                except (KeyError, ValueError, TypeError) as error:
                    raise InputError(
                        f"{file}: sample {key} is not a row: {error!r}", hint="export it again with --force"
                    ) from error
                for name, rate_hz in (("heard.flac", HEARD_HZ), ("spoken.flac", SPOKEN_HZ)):
                    problem = _audio_problem(parts.get(name), rate_hz, n_chunks * grid.chunk_samples(rate_hz))
                    if problem:
                        on_problem(f"{row.get('row_id', key)}: {name} {problem}")
                yield StoredRow(row, parts.get("heard.flac"))
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{file} cannot be read as tar: {error}", hint="export it again with --force") from error


def _audio_problem(data: bytes | None, rate_hz: int, samples: int) -> str | None:
    if data is None:
        return "is missing"
    try:
        with open_stored(io.BytesIO(data)) as file:
            found, found_hz = file.read(dtype="int16"), file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return f"cannot be decoded ({error})"
    if (found_hz, found.ndim, len(found)) != (rate_hz, 1, samples):
        return f"has {counted(len(found), 'sample')} at {found_hz} Hz instead of {samples} mono at {rate_hz} Hz"
    return None
