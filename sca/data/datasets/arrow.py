"""Data sets stored as Arrow files, with the small JSON files that `datasets.load_from_disk` reads.

The caller defines the columns, in `sca.data.datasets.features`. Every file is written atomically.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.datasets.features import Features
from sca.data.runs.files import atomic_write, write_json
from sca.errors import InputError
from sca.textutil import first_line

if TYPE_CHECKING:
    from pyarrow import Array, DataType, RecordBatch, StructArray

    Columns = dict[str, list[object] | Array]
    """A record batch: the values of each column."""

__all__ = [
    "audio_cells",
    "iter_batches",
    "merge_tables",
    "open_split",
    "write_dict",
    "write_split_files",
    "write_table",
]

_BATCHES_TO_MERGE = 128
_INFO: dict[str, object] = dict.fromkeys(
    (
        *("builder_name", "config_name", "dataset_name", "dataset_size", "download_checksums", "download_size"),
        *("post_processed", "post_processing_size", "size_in_bytes", "splits", "supervised_keys", "version"),
    )
) | dict.fromkeys(("citation", "description", "homepage", "license"), "")
"""A `datasets.DatasetInfo` of which nothing is set."""
_FORMAT: dict[str, object] = {
    "_format_columns": None,
    "_format_kwargs": {},
    "_format_type": None,
    "_output_all_columns": False,
}


def audio_cells(files: Sequence[Path]) -> "list[StructArray]":
    """Create one audio cell per file. The bytes are memory-mapped, not copied.

    Returns:
        For each file, a `pyarrow.StructArray` of length 1 with the fields `bytes` and `path` (the file's name).
    """
    import pyarrow as pa

    cell_type = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = []
    for file in files:
        with pa.memory_map(str(file), "r") as mapped:
            data = mapped.read_buffer()
        offsets = pa.array([0, data.size], pa.int32()).buffers()[1]
        content = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, data])
        cells.append(pa.StructArray.from_arrays([content, pa.array([file.name])], fields=list(cell_type)))
    return cells


def write_table(path: Path, features: Features, batches: "Iterable[Columns]") -> int:
    """Write an Arrow stream.

    Args:
        path: The file.
        features: The columns.
        batches: For each record batch, the values of every column, as a list or as an Arrow array. A batch is emptied
            after it was written, so that mapped audio is released.

    Returns:
        The number of records.
    """
    import pyarrow as pa

    schema = features.arrow_schema
    count = 0
    with (
        atomic_write(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as out,
    ):
        for batch in batches:
            arrays = [_column(batch[field.name], field.type) for field in schema]
            record = pa.record_batch(arrays, schema=schema)
            out.write_batch(record)
            count += record.num_rows
            # Release mapped audio before the next batch is created, or two recordings are in memory at once.
            batch.clear()
            del arrays, record
    return count


def _column(values: "list[object] | Array", column_type: "DataType") -> "Array":
    import pyarrow as pa

    return values if isinstance(values, pa.Array) else pa.array(values, column_type)


def iter_batches(path: Path) -> "Iterator[RecordBatch]":
    """Read the record batches of an Arrow stream one at a time, memory-mapped.

    Raises:
        InputError: The file is missing or not an Arrow stream.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path), "r") as source, pa.ipc.open_stream(source) as reader:
            yield from reader
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} cannot be read as an Arrow file: {first_line(error)}",
            hint="delete what is left of it, and run the same command again: it makes what is missing",
        ) from error


def merge_tables(
    path: Path,
    features: Features,
    parts: Sequence[Path],
    complete: "Callable[[RecordBatch], RecordBatch]" = lambda batch: batch,
) -> int:
    """Concatenate Arrow streams into one file. 128 batches become one, so that readers find few batches.

    Args:
        path: The merged file.
        features: The columns.
        parts: The streams, in order.
        complete: Adds the columns that a batch lacks.

    Returns:
        The number of records.
    """

    def merged() -> "Iterator[Columns]":
        group: list[RecordBatch] = []
        for part in parts:
            for batch in iter_batches(part):
                group.append(complete(batch))
                if len(group) == _BATCHES_TO_MERGE:
                    yield _concatenated(group)
                    group = []
        if group:
            yield _concatenated(group)

    return write_table(path, features, merged())


def _concatenated(batches: "list[RecordBatch]") -> "Columns":
    import pyarrow as pa

    combined = pa.Table.from_batches(batches).combine_chunks().to_batches()
    assert len(combined) == 1, "combined chunks are one batch"
    return dict(zip(combined[0].schema.names, combined[0].columns, strict=True))


def write_split_files(
    folder: Path, split: str, features: Features, files: Sequence[str], fingerprint_of: Iterable[str]
) -> None:
    """Write the two JSON files beside the Arrow files of a split.

    Args:
        folder: The folder of the split.
        split: Its name.
        features: Its columns.
        files: The names of its Arrow files, in order.
        fingerprint_of: Strings that identify the content; `datasets` uses their hash as the key of its caches.
    """
    fingerprint = blake2b("\n".join(fingerprint_of).encode(), digest_size=8).hexdigest()
    info = {**_INFO, "features": features.to_json()}
    write_json(folder / "dataset_info.json", {key: info[key] for key in sorted(info)})
    state = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": fingerprint,
        "_split": split,
        **_FORMAT,
    }
    write_json(folder / "state.json", state)


def write_dict(root: Path, splits: Sequence[str]) -> None:
    """Write the file that makes `root` a `DatasetDict`. It is written last and marks a finished data set."""
    write_json(root / "dataset_dict.json", {"splits": list(splits)})


def open_split(root: Path, split: str, *, kind: str, made_by: str) -> list[Path]:
    """Return the Arrow files of a split in order.

    Args:
        root: The data set.
        split: The name of the split.
        kind: What error messages call such a data set.
        made_by: The command that creates such a data set, for hints.

    Raises:
        InputError: `root` is not a finished data set, or does not have the split.
    """
    state = root / split / "state.json"
    try:
        names = [entry["filename"] for entry in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (FileNotFoundError, NotADirectoryError) as error:
        if (root / "settings.json").is_file():
            raise InputError(
                f"{root} is a damaged {kind} data set: {state} is missing", hint=f"run the same {made_by} again"
            ) from error
        raise InputError(
            f"{root} is not a {kind} data set: {state} is missing", hint=f"create one with {made_by}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{state} cannot be read: {first_line(error)}", hint=f"run the same {made_by} again"
        ) from error
    return [root / split / name for name in names]
