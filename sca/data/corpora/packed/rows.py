"""Rows of tables, one at a time: Parquet, folders of `datasets.save_to_disk`, and metadata of audio folders.

data/train-00000-of-00001.parquet      Parquet, as on the hub
data-00000-of-00001.arrow state.json   save_to_disk; a folder for each split
metadata.csv, metadata.jsonl           the table of an audio folder; its columns have file names
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from sca.errors import InputError
from sca.files.bounded import check_size, read_whole

__all__ = ["Row", "columns_of", "rows_of", "tables_in"]

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SHARD = re.compile(r"[-_.]\d{4,5}([-_]of[-_]\d{4,5})?.*$")
_BATCH_ROWS = 4
_BUFFER_BYTES = 1 << 20  # without it, pyarrow reads whole row groups, of which one can have gigabytes of recordings


class Row(NamedTuple):
    """A row of a table: its file, its place ("train-3"), and its values by column."""

    path: Path
    name: str
    values: dict[str, Any]


def tables_in(source: Path) -> list[Path]:
    """Return the tables of a file or folder in order; an empty list without any."""
    if source.is_file():
        return [source] if source.suffix in (".parquet", ".arrow") or source.name in _METADATA else []
    if not source.is_dir():
        return []
    visible = [path for path in sorted(source.rglob("*")) if not _is_hidden(path.relative_to(source))]
    saved = [path.parent / name for path in visible if path.name == "state.json" for name in _data_files(path)]
    parquet = [path for path in visible if path.suffix == ".parquet"]
    return saved or parquet or [path for path in visible if path.name in _METADATA]


def columns_of(path: Path) -> Any:
    """Return the schema of a table.

    Raises:
        InputError: The file is not a table.
    """
    with _Opened(path) as table:
        return table.schema


def rows_of(paths: Iterable[Path], columns: Callable[[Path], list[str]]) -> Iterator[Row]:
    """Read the rows of tables with some of their columns. Rows are named by their split and their place in it.

    Args:
        paths: The tables.
        columns: Returns the columns to read of a table.

    Yields:
        The rows in order.

    Raises:
        InputError: A file cannot be read.
    """
    for split, files in groupby(paths, key=_split):
        number = 0
        for path in files:
            with _Opened(path) as table:
                for batch in table.batches(columns(path)):
                    for at in range(batch.num_rows):
                        (values,) = batch.slice(at, 1).to_pylist()
                        yield Row(path, f"{split}-{number}", values)
                        number += 1


class _Opened:
    """A table that is open for reading; every error of pyarrow is an `InputError` that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_Opened":
        import pyarrow.ipc
        import pyarrow.parquet

        self._table: Any = None
        try:
            if self._path.suffix == ".parquet":
                self._table = pyarrow.parquet.ParquetFile(self._path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
                self.schema = self._table.schema_arrow
            elif self._path.suffix == ".arrow":
                self._table = _arrow(self._path)
                self.schema = self._table.schema
            else:
                self._table = _metadata(self._path)
                self.schema = self._table.schema
        except (OSError, ValueError) as error:  # pyarrow's errors are among them
            raise InputError(f"{self._path} cannot be read as a table ({error})") from error
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self._table, "close"):
            self._table.close()

    def batches(self, columns: list[str]) -> Iterator[Any]:
        """Yield small record batches."""
        try:
            if self._path.suffix == ".parquet":
                yield from self._table.iter_batches(_BATCH_ROWS, columns=columns)
            elif self._path.suffix == ".arrow":
                for batch in self._table:
                    yield batch.select(columns)
            else:
                yield from self._table.select(columns).to_batches()
        except (OSError, ValueError, MemoryError) as error:
            raise InputError(f"{self._path} cannot be read ({error})") from error


def _arrow(path: Path) -> Any:
    import pyarrow as pa

    memory = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(memory)
    except pa.ArrowInvalid:
        file = pa.ipc.open_file(memory)
        return pa.RecordBatchReader.from_batches(file.schema, map(file.get_batch, range(file.num_record_batches)))


def _metadata(path: Path) -> Any:
    import pyarrow.csv
    import pyarrow.json

    check_size(path)
    return pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.json.read_json(path)


def _data_files(state: Path) -> list[str]:
    """Return the names of the files of a folder that `save_to_disk` wrote."""
    try:
        files = json.loads(read_whole(state))["_data_files"]
        return [str(file["filename"]) for file in files]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _split(path: Path) -> str:
    """Return the split of a table: that of its name, or of its folder if all tables have the same name."""
    name = _SHARD.sub("", path.stem)
    return path.parent.name if path.suffix == ".arrow" or path.name in _METADATA else name


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
