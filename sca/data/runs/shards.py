"""Shards of a run: a part of the items, in a process that knows nothing of the others, with a ledger and a lock of its own.

A shard takes items by a hash, writes their results into the common output folder, and leaves what joins them to the run
without a shard. That one reads the ledgers of all shards as entries of earlier runs, does what is missing, and removes
them. So the results are the same bytes as those of a run without shards.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sca.data.runs.ledger import Ledger, LedgerEntry, ledger_line
from sca.errors import InputError, writing
from sca.files.locks import HeldError, locked

__all__ = ["SHARDS", "Shard", "hold_folder", "merge_ledgers", "setting_up", "shard_files"]

SHARDS = "shards"
"""The folder in `.sca` with the ledgers and locks of shards."""
_PROBE_S = 2.0


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

    def takes(self, identity: str) -> bool:
        """Return whether an item belongs to this shard: the SHA-256 of its identity, modulo the number of shards."""
        return int.from_bytes(sha256(identity.encode(errors="surrogateescape")).digest()) % self.count == self.index - 1

    def file_of(self, path: Path) -> Path:
        """Return the file in which this shard collects what a whole run writes to `path`, such as its ledger."""
        return _folder_of(path) / path.stem / f"{self}{path.suffix}"


def shard_files(path: Path) -> list[Path]:
    """Return the files in which shards collected what a whole run writes to `path`, sorted by name."""
    return sorted((_folder_of(path) / path.stem).glob(f"*-of-*{path.suffix}"))


def _folder_of(path: Path) -> Path:
    root = path.parent if path.parent.name != ".sca" else path.parent.parent
    return root / ".sca" / SHARDS


def merge_ledgers(ledgers: Iterable[Iterable[LedgerEntry]]) -> dict[str, LedgerEntry]:
    """Join the ledgers of shards: one entry for each item. The order of the ledgers and repeated ones change nothing.

    In one ledger, the last entry of an item counts. Of the entries of several ledgers, a finished one counts before a failed
    one, and of equal ones the greater line.

    Args:
        ledgers: The entries of each ledger, in the order of its lines.
    """
    merged: dict[str, LedgerEntry] = {}
    for ledger in ledgers:
        for item, entry in {entry.item: entry for entry in ledger}.items():
            merged[item] = max(entry, merged.get(item, entry), key=_rank)
    return merged


def _rank(entry: LedgerEntry) -> tuple[bool, bytes]:
    return entry.status != "failed", ledger_line(entry)


def entries_of_shards(ledger: Ledger) -> dict[str, LedgerEntry]:
    """Return the entries of all shards of a ledger, merged."""
    return merge_ledgers(Ledger(path).read() for path in shard_files(ledger.path))


def remove_shards(path: Path) -> None:
    """Remove the files of shards of `path`, after their content was written to it."""
    with writing(path):
        for file in shard_files(path):
            file.unlink(missing_ok=True)
        folders = (_folder_of(path) / path.stem, _folder_of(path))
        for folder in folders:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def hold_folder(folder: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold a folder for one run, or for one shard beside other shards; make it if it does not exist.

    Args:
        folder: The output folder.
        shard: The shard; None for a whole run.

    Raises:
        InputError: Another run holds it, or the shard.
        OutputError: It cannot be made or written to, or a lock is a link or another special file.
    """
    own = folder / ".sca" / SHARDS
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if shard is not None:
            own.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            if shard is None:
                held.enter_context(locked(folder / ".lock"))
                for lock in sorted(own.glob("*.lock")):
                    held.enter_context(locked(lock))
            else:
                held.enter_context(locked(own / f"{shard}.lock"))
                with locked(folder / ".lock", timeout_s=_PROBE_S):  # a whole run would hold it
                    pass
        except HeldError as error:
            what = f"the shard {shard}, or all of {folder}" if shard else str(folder)
            raise InputError(
                f"another run is writing to {what}", hint="wait for it, or give another output folder"
            ) from error
        yield
        if shard is None and own.is_dir():
            with writing(folder):
                for lock in own.glob("*.lock"):
                    lock.unlink(missing_ok=True)
                if not any(own.iterdir()):
                    own.rmdir()


def setting_up(folder: Path, shard: Shard | None) -> AbstractContextManager[None]:
    """Return a context in which no other shard prepares the folder, which is held."""
    if shard is None:
        return nullcontext()
    return locked(folder / ".sca" / SHARDS / "setup.lock", on_wait=lambda: None)
