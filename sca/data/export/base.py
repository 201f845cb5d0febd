"""A shard: a piece of an export that is made whole or not at all, by any process, the same bytes every time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from sca.data.duplex.storage.reader import DatasetReader
from sca.data.runs.files import sha256_of

__all__ = ["Format", "Made", "MadeFile", "Shard", "file_name", "packed"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """What to make.   name: unlike any other's.   split: "storage" or a split of rows.   sessions: those it holds (storage).

    first, last: the rows `[first, last)` it holds (splits).
    """

    name: str
    split: str
    sessions: tuple[str, ...] = ()
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file of a shard: its name in the export's folder, its size and its SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a shard.   lines: what it adds to the export's list (moshi's JSONL, lhotse's cuts), as JSON objects."""

    name: str
    items: int
    audio_s: float
    files: tuple[MadeFile, ...]
    lines: tuple[dict[str, Any], ...] = field(default=())

    @classmethod
    def of(cls, root: Path, shard: Shard, items: int, audio_s: float, paths: Iterable[Path], lines: Any = ()) -> "Made":
        """Look at the files that were written."""
        files = [MadeFile(str(path.relative_to(root)), path.stat().st_size, sha256_of(path)) for path in paths]
        return cls(shard.name, items, round(audio_s, 6), tuple(files), tuple(lines))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Made":
        """Undo `to_json`. Raises `KeyError` or `TypeError` for something else."""
        files = tuple(MadeFile(**one) for one in plain["files"])
        return cls(plain["name"], plain["items"], plain["audio_s"], files, tuple(plain["lines"]))


class Format(Protocol):
    """One format: which shards there are, how one is made, what joins them."""

    name: str

    def plan(self, source: DatasetReader, shard_bytes: int) -> list[Shard]:
        """The shards, from sizes alone, so that every run plans the same."""
        ...

    def make(self, source: DatasetReader, root: Path, shard: Shard) -> Made:
        """Write a shard's files under `root`, each whole or not at all."""
        ...

    def finish(self, source: DatasetReader, root: Path, made: Sequence[Made]) -> dict[str, Any]:
        """Write what joins the shards; returns the front matter of the card (`configs`), or nothing."""
        ...


def packed(items: Iterable[Item], size_of: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Neighbours together up to `most` bytes; an item larger than that stands alone."""
    held: list[Item] = []
    size = 0
    for item in items:
        one = size_of(item)
        if held and size + one > most:
            yield held
            held, size = [], 0
        held.append(item)
        size += one
    if held:
        yield held


def file_name(*parts: str) -> str:
    """A file name of these parts that every file system takes; different parts give different names."""
    return ".".join(quote(part, safe="").replace(".", "%2E") for part in parts)
