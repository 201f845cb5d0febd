"""The interface of an export format, and shards, the parts of an export.

A shard is written completely or not at all, by any process, with the same bytes in every run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable
from urllib.parse import quote

from sca.data.datasets.card import CardConfig
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.runs.files import sha256_of

__all__ = ["STORAGE", "ExportedFile", "Exporter", "Shard", "ShardResult", "join_file_name", "pack", "shard_result"]

STORAGE = "storage"
"""The `split` of shards that contain whole sessions."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of an export.

    Attributes:
        name: A unique relative path without suffix.
        split: `storage`, or a split of rows.
        sessions: The sessions that it contains (`storage`).
        first: The first row that it contains (splits of rows).
        last: The end of its rows, exclusive.
    """

    name: str
    split: str
    sessions: tuple[str, ...] = ()
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of a shard: its path in the folder of the export, its size and its SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard that was written.

    Attributes:
        name: The name of the shard.
        items: Its items: rows, tracks, conversations, whatever the format counts.
        audio_s: Seconds of audio in it.
        files: Its files.
        lines: JSON objects that it adds to the index of the export, such as lhotse's cuts.
    """

    name: str
    items: int
    audio_s: float
    files: tuple[ExportedFile, ...]
    lines: tuple[Mapping[str, object], ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return a document for `json.dumps`."""
        return asdict(self)


@runtime_checkable
class Exporter(Protocol):
    """An export format: which shards an export has, how to write one, and what joins them.

    Methods may be called in different processes, each with an instance of its own, so an instance keeps no state.

    Attributes:
        index_files: Names of the files that `finish` writes. `sca export --force` removes them with the rest of an
            export.
    """

    index_files: Sequence[str]

    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        """Divide the data set into shards.

        The plan must depend on the arguments only, so that a later run finds the shards of this one.

        Args:
            dataset: The data set.
            shard_bytes: The approximate size of a shard.
        """
        ...

    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        """Write the files of one shard, each atomically (`sca.data.runs.files.atomic_write`).

        Args:
            dataset: The data set.
            root: The folder of the export.
            shard: The shard.

        Raises:
            InputError: The data of the shard is damaged.
            OutputError: A file cannot be written.
        """
        ...

    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        """Write the files that join the shards.

        Args:
            dataset: The data set.
            root: The folder of the export.
            results: All shards, in the order of the plan.

        Returns:
            The tables that `datasets.load_dataset` can open; empty if the format is not one that `datasets` reads.
        """
        ...

    def usage(self, splits: Sequence[str]) -> str:
        """Describe how to open the export, in Markdown, for its card. Write `PATH` for the folder of the export.

        Args:
            splits: The splits of rows.
        """
        ...


def shard_result(
    root: Path,
    shard: Shard,
    *,
    items: int,
    audio_s: float,
    paths: Iterable[Path],
    lines: Iterable[Mapping[str, object]] = (),
) -> ShardResult:
    """Describe a written shard, with the sizes and hashes of its files.

    Args:
        root: The folder of the export.
        shard: The shard.
        items: See `ShardResult.items`.
        audio_s: See `ShardResult.audio_s`.
        paths: The files of the shard, below `root`.
        lines: See `ShardResult.lines`.
    """
    files = [ExportedFile(str(path.relative_to(root)), path.stat().st_size, sha256_of(path)) for path in paths]
    return ShardResult(shard.name, items, round(audio_s, 6), tuple(files), tuple(lines))


def pack(items: Iterable[Item], size_of: Callable[[Item], int], max_size: int) -> Iterator[list[Item]]:
    """Group consecutive items so that a group is not larger than `max_size`; a larger item is a group of its own.

    Args:
        items: The items, in order.
        size_of: Returns the size of an item.
        max_size: The largest size of a group.
    """
    group: list[Item] = []
    group_size = 0
    for item in items:
        size = size_of(item)
        if group and group_size + size > max_size:
            yield group
            group, group_size = [], 0
        group.append(item)
        group_size += size
    if group:
        yield group


def join_file_name(*parts: str) -> str:
    """Join parts to a file name that is valid on every file system. Different parts give different names."""
    return ".".join(quote(part, safe="").replace(".", "%2E") for part in parts)
