"""A data set on disk as Arrow files, with the small JSON files that make `datasets.load_from_disk` read them.

Knows no columns: the caller brings its `datasets.Features`. Every file appears under its name only when it is whole.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sca.data.runs.files import atomic_write, write_json
from sca.errors import InputError
from sca.textutil import first_line

__all__ = ["audio_array", "iter_rows", "merge_tables", "open_split", "write_dict", "write_split_files", "write_table"]

_ROWS_A_BATCH = 128
_FORMAT: dict[str, Any] = {
    "_format_columns": None,
    "_format_kwargs": {},
    "_format_type": None,
    "_output_all_columns": False,
}


def audio_array(files: Sequence[Path]) -> Any:
    """Audio cells whose bytes are mapped from `files`, not copied into memory."""
    import pyarrow as pa

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = []
    for file in files:
        with pa.memory_map(str(file), "r") as mapped:
            data = mapped.read_buffer()
        offsets = pa.array([0, data.size], pa.int32()).buffers()[1]
        cell = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, data])
        cells.append(pa.StructArray.from_arrays([cell, pa.array([file.name])], fields=list(kind)))
    return cells


def write_table(path: Path, features: Any, batches: Iterable[dict[str, Any]]) -> int:
    """Write an Arrow stream of `batches` (column → list, or a ready Arrow array); returns the number of records."""
    import pyarrow as pa

    schema = features.arrow_schema
    count = 0
    with (
        atomic_write(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as out,
    ):
        for batch in batches:
            arrays = [
                batch[field.name]
                if isinstance(batch[field.name], pa.Array)
                else pa.array(batch[field.name], field.type)
                for field in schema
            ]
            record = pa.record_batch(arrays, schema=schema)
            out.write_batch(record)
            count += record.num_rows
            # Let go of mapped audio before the next batch is made, or two recordings are resident at once.
            batch.clear()
            del arrays, record
    return count


def iter_rows(path: Path) -> Iterator[Any]:
    """The record batches of an Arrow stream, mapped, one at a time. Raises `InputError` where the file is broken."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path), "r") as source, pa.ipc.open_stream(source) as reader:
            yield from reader
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} cannot be read as an Arrow file: {first_line(error)}",
            hint="build the data set again with --force",
        ) from error


def merge_tables(path: Path, features: Any, parts: Sequence[Path]) -> int:
    """Join the parts into one file in their order, some hundred records to a batch so that readers find few."""
    import pyarrow as pa

    def joined(held: list[Any]) -> dict[str, Any]:
        whole = pa.Table.from_batches(held).combine_chunks().to_batches()
        assert len(whole) == 1, "combined chunks are one batch"
        return dict(zip(whole[0].schema.names, whole[0].columns, strict=True))

    def batches() -> Iterator[dict[str, Any]]:
        held: list[Any] = []
        for part in parts:
            for batch in iter_rows(part):
                held.append(batch)
                if len(held) == _ROWS_A_BATCH:
                    yield joined(held)
                    held = []
        if held:
            yield joined(held)

    return write_table(path, features, batches())


def write_split_files(
    folder: Path, split: str, features: Any, files: Sequence[str], fingerprint_of: Iterable[str]
) -> None:
    """The two JSON files beside a split's Arrow files."""
    from datasets import DatasetInfo

    fingerprint = blake2b("\n".join(fingerprint_of).encode(), digest_size=8).hexdigest()
    info = asdict(DatasetInfo(features=features))
    write_json(folder / "dataset_info.json", {key: info[key] for key in sorted(info)})
    state = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": fingerprint,
        "_split": split,
        **_FORMAT,
    }
    write_json(folder / "state.json", state)


def write_dict(root: Path, splits: Sequence[str]) -> None:
    """The file that makes `root` a DatasetDict. Written last: a folder that has it is a finished data set."""
    write_json(root / "dataset_dict.json", {"splits": list(splits)})


def open_split(root: Path, split: str, *, kind: str, made_by: str) -> list[Path]:
    """The Arrow files of a split, in order. Raises `InputError` when `root` is not a finished data set.

    kind, made_by: what the complaint calls such a data set, and the command that makes one.
    """
    state = root / split / "state.json"
    try:
        names = [entry["filename"] for entry in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{root} is not a {kind} data set: {state} is missing", hint=f"{made_by} makes one") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{state} cannot be read: {first_line(error)}") from error
    return [root / split / name for name in names]
