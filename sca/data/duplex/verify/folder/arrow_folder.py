"""Verify that the folders of a data set contain the listed Arrow files, and no others.

`datasets.load_from_disk` reads the files that `state.json` lists, `datasets.load_dataset` all files that match the
patterns of the card. Both must read the same records.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.duplex.storage.writer import features, open_split
from sca.errors import InputError
from sca.textutil import counted, first_line

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["arrow_folder_problems"]

_TABLE_SUFFIXES = (".arrow", ".parquet", ".json", ".jsonl", ".csv")
_OWN_JSON = ("dataset_info.json", "state.json")


def arrow_folder_problems(root: Path, splits: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the lists of files and columns of an Arrow folder.

    Args:
        root: The data set.
        splits: The splits of rows that it has.
    """
    yield from _split_list_problems(root, splits)
    for split in ("storage", *splits):
        try:
            listed = open_split(root, split)
        except InputError as error:
            yield error.message
            continue
        yield from _file_problems(root, split, listed)
        yield from _state_problems(root / split / "state.json", split)
        yield from _column_problems(root, split, listed)


def _split_list_problems(root: Path, splits: Sequence[str]) -> Iterator[str]:
    named = json.loads((root / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    expected = {"storage", *splits}
    for name in sorted(expected - set(named)):
        yield f"dataset_dict.json: does not list {name}, load_from_disk does not read it"
    if len(set(named)) != len(named):
        yield f"dataset_dict.json: lists a table twice: {', '.join(named)}"


def _file_problems(root: Path, split: str, listed: Sequence[Path]) -> Iterator[str]:
    names = [str(path.relative_to(root / split)) for path in listed]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{split}/state.json: lists {name} twice"
    for path in listed:
        if extra := _bytes_after(path):
            yield f"{split}/{path.name}: has {counted(extra, 'byte')} after the end of its Arrow stream"
    for name in names:
        if Path(name).name != name:
            yield f"{split}/state.json: lists {name}, which is not in the folder"
    tables = (path.name for path in (root / split).iterdir() if path.suffix in _TABLE_SUFFIXES)
    for name in sorted(set(tables) - set(names) - set(_OWN_JSON)):
        yield f"{split}/{name}: is not listed in {split}/state.json, but load_dataset reads it"


def _bytes_after(file: Path) -> int:
    """Return the number of bytes after the end of an Arrow stream; 0 if it cannot be read, which is reported elsewhere."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(file), "r") as source, pa.ipc.open_stream(source) as reader:
            for _ in reader:
                pass
            return int(source.size() - source.tell())
    except (pa.ArrowInvalid, OSError):
        return 0


def _state_problems(path: Path, split: str) -> Iterator[str]:
    state = json.loads(path.read_text(encoding="utf-8"))
    if state.get("_split") != split:
        yield f"{split}/state.json: is the state of split {state.get('_split')!r}"
    for name in ("_format_columns", "_format_type", "_indices_data_files"):
        if state.get(name):
            yield f"{split}/state.json: {name} is {state[name]!r}, load_from_disk does not return the rows as stored"


def _column_problems(root: Path, split: str, listed: Sequence[Path]) -> Iterator[str]:
    """Compare the columns of `dataset_info.json` with those of the Arrow files."""
    path = root / split / "dataset_info.json"
    try:
        described = _described_schema(json.loads(path.read_text(encoding="utf-8"))["features"], split)
    except FileNotFoundError:
        yield f"{split}/dataset_info.json is missing"
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{split}/dataset_info.json cannot be read: {first_line(error)}"
        return
    stored = _schema(listed[0]) if listed else None
    if stored is None:
        return
    for name in sorted({*described.names, *stored.names}):
        if problem := _column_problem(name, described, stored):
            yield f"{split}/dataset_info.json: {problem} in {listed[0].name}"
    if described.names != stored.names and set(described.names) == set(stored.names):
        yield f"{split}/dataset_info.json: its columns have another order than those in {listed[0].name}"


def _described_schema(columns: dict[str, object], split: str) -> "pa.Schema":
    """Return the Arrow schema of the described columns. Those that sca writes now need no import of `datasets`."""
    written = features("storage" if split == "storage" else "rows")
    if json.dumps(columns) == json.dumps(written.to_json()):  # the order counts
        return written.arrow_schema
    from datasets import Features

    return Features.from_dict(columns).arrow_schema


def _column_problem(name: str, described: "pa.Schema", stored: "pa.Schema") -> str | None:
    if name not in described.names:
        return f"column {name} is missing, it is"
    if name not in stored.names:
        return f"column {name} is not"
    if described.field(name).type != stored.field(name).type:
        return f"column {name} has another type than"
    return None


def _schema(file: Path) -> "pa.Schema | None":
    """Return the schema of an Arrow stream; None if it cannot be read, which the verification of its records reports."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(file), "r") as source, pa.ipc.open_stream(source) as reader:
            return reader.schema
    except (pa.ArrowInvalid, OSError):
        return None
