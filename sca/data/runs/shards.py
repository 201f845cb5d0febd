"""Shards of a run: a part of the items, in a process that knows nothing of the others, with a ledger and a lock of its own.

A shard takes items by a hash of their names, writes their results into the common output folder, and leaves what joins
them to the run without a shard. That one reads the ledgers of all shards as entries of earlier runs, does what is missing,
and removes them. So the results are the same bytes as those of a run without shards.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sca.data.runs.store.entries import LedgerEntries
from sca.data.runs.store.entry import LedgerEntry, line_of
from sca.errors import writing
from sca.files.locks import locked

__all__ = [
    "SHARDS",
    "Shard",
    "entries_of_shards",
    "merge_ledgers",
    "remove_locks",
    "remove_shard_files",
    "setting_up",
    "shard_files",
    "shard_locks",
]

SHARDS = Path(".sca") / "shards"
"""The folder in an output folder with what shards write beside the results: ledgers, locks."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a run.

    Attributes:
        index: Its number, from 1.
        count: How many there are.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def takes(self, name: str) -> bool:
        """Return whether an item belongs to this shard: the SHA-256 of its name, modulo the number of shards.

        Not of its content: to know that, every shard would read the whole corpus.
        """
        digest = sha256(name.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1

    def file_of(self, path: Path) -> Path:
        """Return the file in which this shard collects what a whole run writes to `path`, such as its ledger."""
        return _folder_of(path) / f"{self}{path.suffix}"


def shard_files(path: Path) -> list[Path]:
    """Return the files in which shards collected what a whole run writes to `path`, sorted by name."""
    return sorted(_folder_of(path).glob(f"*-of-*{path.suffix}"))


def _folder_of(path: Path) -> Path:
    root = path.parent.parent if path.parent.name == SHARDS.parent.name else path.parent
    return root / SHARDS / path.stem


def merge_ledgers(ledgers: Iterable[Iterable[LedgerEntry]]) -> dict[str, LedgerEntry]:
    """Join the ledgers of shards: one entry for each item. The order of the ledgers and repeated ones change nothing.

    In one ledger, the last entry of an item counts. Of the entries of several ledgers, a finished one counts before a failed
    one, and otherwise the one with the greater line.

    Args:
        ledgers: The entries of each ledger, in the order of its lines.
    """
    merged: dict[str, LedgerEntry] = {}
    for ledger in ledgers:
        for item, entry in {entry.item: entry for entry in ledger}.items():
            merged[item] = max(entry, merged.get(item, entry), key=_rank)
    return merged


def _rank(entry: LedgerEntry) -> tuple[bool, bytes]:
    return entry.status != "failed", line_of(entry)


def entries_of_shards(ledger: Path) -> dict[str, LedgerEntry]:
    """Return the entries that shards have beside a ledger. An incomplete last line, which a crash leaves, is ignored.

    Raises:
        InputError: A line is not an entry.
    """
    return merge_ledgers(LedgerEntries(path).values() for path in shard_files(ledger))


def remove_shard_files(path: Path) -> None:
    """Remove the files of shards of `path`, when `path` has their content."""
    with writing(path):
        for file in shard_files(path):
            file.unlink(missing_ok=True)
        _remove_empty(_folder_of(path))


def remove_locks(folder: Path) -> None:
    """Remove the locks of shards in a folder that is held by a whole run, and their folder if nothing else is in it."""
    with writing(folder):
        for lock in shard_locks(folder):
            lock.unlink(missing_ok=True)
        _remove_empty(folder / SHARDS)
        if not (folder / SHARDS).exists():
            _remove_empty(folder / SHARDS.parent)


def shard_locks(folder: Path) -> list[Path]:
    """Return the locks of shards in a folder, sorted by name."""
    return sorted((folder / SHARDS).glob("*.lock"))


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def setting_up(folder: Path, shard: Shard | None) -> AbstractContextManager[None]:
    """Return a context in which no other shard prepares the folder, which is held."""
    if shard is None:
        return nullcontext()
    return locked(folder / SHARDS / "setup.lock", on_wait=lambda: None)
