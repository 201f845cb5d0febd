"""What a data set holds, wherever it stands: the Arrow folder that was built, or an export that keeps the grid.

Sessions come one at a time, so memory does not grow with the data set. Knows where things are, not whether they are right.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks, tracks_of_batch
from sca.data.duplex.storage.writer import iter_rows, open_split
from sca.data.runs.files import sha256_of
from sca.errors import InputError
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

__all__ = [
    "CARRIED",
    "EXPORT_FILE",
    "SESSIONS_FILE",
    "Export",
    "StoredSession",
    "export_of",
    "splits_of",
    "stored_rows",
    "stored_sessions",
]

CARRIED = "heard.flac"
"""Where a row that carries its own audio has what is heard; no column of a data set."""
EXPORT_FILE = "export.json"
GRID_FORMATS = ("parquet", "webdataset")
"""Exports that keep the rows, and so can be verified."""
SESSIONS_FILE = "sessions.jsonl"
"""A webdataset's words and provenance: the rows of `storage` without audio, one JSON line a track."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session to read.   name: which one it should be.   where: for complaints.   audio: whether its tracks have their audio."""

    name: str
    where: str
    audio: bool
    read: Callable[[], list[StoredTrack]]


@dataclass(frozen=True, slots=True)
class Export:
    """`export.json` of a finished export.   files: name in the folder → (bytes, SHA-256), in order."""

    format: str
    splits: list[str]
    files: dict[str, tuple[int, str]]

    def of(self, root: Path, start: str) -> list[Path]:
        """The shards whose names start like that, in order."""
        return [root / name for name in self.files if name.startswith(start)]


def export_of(root: Path) -> Export | None:
    """What export `root` is, None when it is none. Raises `InputError` where its record is broken."""
    path = root / EXPORT_FILE
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        files = {
            one["name"]: (int(one["bytes"]), str(one["sha256"])) for shard in plain["shards"] for one in shard["files"]
        }
        return Export(str(plain["format"]), list(plain["splits"]), files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="export it again with --force") from error


def grid_export_of(root: Path) -> Export | None:
    """`export_of`, for those who need the grid. Raises `InputError` for an export that has none."""
    export = export_of(root)
    if export is not None and export.format not in GRID_FORMATS:
        raise InputError(
            f"{root} is a {export.format} export: audio and words without the grid",
            hint="its audio and words are those of the data set it was made from: verify that one",
        )
    return export


def broken_files(root: Path, export: Export | None) -> list[str]:
    """Files of an export that are not what was written, in lines."""
    problems = []
    for name, (size, digest) in export.files.items() if export is not None else ():
        try:
            found = sha256_of(root / name)
        except OSError as error:
            problems.append(f"{name}: cannot be read ({error.strerror})")
            continue
        if found != digest:
            problems.append(f"{name}: not the {counted(size, 'byte')} that were exported (its SHA-256 is another)")
    return problems


def splits_of(root: Path, export: Export | None) -> list[str]:
    """The splits of rows, in their order. Raises `InputError` when `root` is not a finished data set."""
    if export is not None:
        return export.splits
    path = root / "dataset_dict.json"
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["splits"]
        named = [str(name) for name in names if name != "storage"]
        # A split that stands there is part of the data, named or not.
        return named + sorted({state.parent.name for state in root.glob("*/state.json")} - {*named, "storage"})
    except FileNotFoundError as error:
        raise InputError(
            f"{root} is not a finished data set: it has no dataset_dict.json",
            hint="run the same sca build-duplex again; it goes on where it was",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def stored_sessions(root: Path, export: Export | None) -> list[StoredSession]:
    """The sessions of a data set, in order."""
    match export:
        case None:
            files = open_split(root, "storage")
            return [StoredSession(file.stem, file.name, True, partial(stored_tracks, file)) for file in files]
        case Export(format="parquet"):
            return [one for file in export.of(root, "storage/") for one in _parquet_sessions(file)]
        case _:
            return _listed_sessions(root / SESSIONS_FILE)


def stored_rows(
    root: Path, export: Export | None, split: str, grid: Grid, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The rows of a split, in order.

    say: is told what is wrong with the audio that a webdataset's rows carry. Such rows have their heard FLAC under `CARRIED`.
    """
    match export:
        case None:
            for file in open_split(root, split):
                for batch in iter_rows(file):
                    yield from batch.to_pylist()
        case Export(format="parquet"):
            for file in export.of(root, f"{split}/"):
                for batch in _parquet_batches(file, None):
                    yield from batch.to_pylist()
        case _:
            for file in export.of(root, f"{split}-"):
                yield from _tar_rows(file, grid, say)


def _parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} cannot be read as Parquet: {error}", hint="export it again with --force") from error


def _parquet_batches(file: Path, groups: list[int] | None, columns: list[str] | None = None) -> Iterator[Any]:
    import pyarrow as pa

    with _parquet(file) as opened:
        try:
            yield from opened.iter_batches(row_groups=groups, columns=columns, batch_size=128)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{file} cannot be read as Parquet: {error}", hint="export it again") from error


def _parquet_sessions(file: Path) -> list[StoredSession]:
    with _parquet(file) as opened:
        ids = [
            opened.read_row_group(group, columns=["session_id"]).column(0)[0].as_py()
            for group in range(opened.num_row_groups)
        ]

    def read(groups: list[int]) -> list[StoredTrack]:
        return [track for batch in _parquet_batches(file, groups) for track in tracks_of_batch(batch)]

    found = []
    for session_id, members in groupby(range(len(ids)), key=ids.__getitem__):
        found.append(StoredSession(session_id, f"{file.name} {session_id}", True, partial(read, list(members))))
    return found


def _listed_sessions(file: Path) -> list[StoredSession]:
    try:
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        grouped = [
            (key, list(members)) for key, members in groupby(records, key=lambda record: str(record["session_id"]))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="export it again with --force") from error

    def read(members: list[dict[str, Any]]) -> list[StoredTrack]:
        return [StoredTrack(None, None, record) for record in members]

    return [StoredSession(key, f"{file.name} {key}", False, partial(read, members)) for key, members in grouped]


def _tar_rows(file: Path, grid: Grid, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The rows of a shard, their audio checked against the chunks they say they have."""
    try:
        with tarfile.open(file) as tar:
            members = ((member.name.partition("."), tar.extractfile(member)) for member in tar if member.isfile())
            for key, group in groupby(members, key=lambda one: one[0][0]):
                parts = {name[2]: data.read() for name, data in group if data is not None}
                try:
                    row = json.loads(parts["json"])
                    row["input_ids"] = np.load(io.BytesIO(parts["input_ids.npy"])).tolist()
                    lengths = row["n_chunks"] * grid.heard_samples, row["n_chunks"] * grid.spoken_samples
                except (KeyError, ValueError, TypeError) as error:
                    raise InputError(f"{file}: sample {key} is no row: {error!r}", hint="export it again") from error
                wanted = (("heard.flac", HEARD_HZ, lengths[0]), ("spoken.flac", SPOKEN_HZ, lengths[1]))
                for name, rate_hz, samples in wanted:
                    problem = _wrong_audio(parts.get(name), rate_hz, samples)
                    if problem:
                        say(f"{row.get('row_id', key)}: {name} {problem}")
                row[CARRIED] = parts.get("heard.flac")
                yield row
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{file} cannot be read as tar: {error}", hint="export it again with --force") from error


def _wrong_audio(data: bytes | None, rate_hz: int, samples: int) -> str | None:
    if data is None:
        return "is missing"
    try:
        found, found_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return f"cannot be decoded ({error})"
    if (found_hz, found.ndim, len(found)) != (rate_hz, 1, samples):
        return (
            f"has {counted(len(found), 'sample')} at {found_hz} Hz, its chunks ask for {samples} mono at {rate_hz} Hz"
        )
    return None
