"""The ledger of a run: one JSON line per item, with its status and the reason.

Lines are appended complete and synced, so a crash loses at most the item in progress. `settle` rewrites the file with
the last entry of each item, sorted, so that interrupted and uninterrupted runs leave the same bytes.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sca.data.runs.files import append_line, atomic_write
from sca.data.runs.shards import SHARDS, Shard, remove_locks, shard_locks
from sca.data.runs.store.entries import LedgerEntries
from sca.data.runs.store.entry import LedgerEntry, line_of
from sca.errors import InputError, writing
from sca.files.atomic import check_no_link
from sca.files.locks import HeldError, locked

__all__ = ["Ledger", "LedgerEntry", "lock_dir"]

_PROBE_S = 5.0


class Ledger:
    """The ledger file of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> LedgerEntries:
        """Return the last entry of each item. An incomplete last line, which a crash leaves, is ignored.

        Raises:
            InputError: A line is not an entry, or the file cannot be read.
        """
        return LedgerEntries(self.path)

    def append(self, entry: LedgerEntry) -> None:
        """Append one line, synced."""
        append_line(self.path, line_of(entry))

    def settle(self, entries: Iterable[LedgerEntry]) -> None:
        """Replace the file by these entries, sorted by item."""
        # Lines instead of entries: they need less memory, and a million of them are sorted in a second.
        lines = sorted((entry.item, line_of(entry)) for entry in entries)
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            file.writelines(line for _, line in lines)


@contextmanager
def lock_dir(folder: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold `folder` for one run, or for one shard beside other shards; make it if it does not exist.

    Args:
        folder: The output folder.
        shard: The shard; None for a whole run, which also removes the locks of shards at its end.

    Raises:
        InputError: Another run holds it, or this shard.
        OutputError: It cannot be made or written to, its lock is a link or another special file, or its folder `.sca` is
            a link.
    """
    with writing(folder):
        for inner in (folder / SHARDS.parent, folder / SHARDS):
            check_no_link(inner)
        (folder if shard is None else folder / SHARDS).mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            if shard is None:
                for lock in (folder / ".lock", *shard_locks(folder)):
                    held.enter_context(locked(lock))
            else:
                held.enter_context(locked(folder / SHARDS / f"{shard}.lock"))
                with locked(folder / ".lock", timeout_s=_PROBE_S):  # held by a whole run, and for a moment by shards
                    pass
        except HeldError as error:
            raise InputError(
                f"another run is writing to {folder}" + (f", or to its shard {shard}" if shard else ""),
                hint="wait for it, or give another output folder",
            ) from error
        yield
        if shard is None:
            remove_locks(folder)
