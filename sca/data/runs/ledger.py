"""The ledger of a run: one JSON line per item, with its status and the reason.

Lines are appended complete and synced, so a crash loses at most the item in progress. `settle` rewrites the file with
the last entry of each item, sorted, so that interrupted and uninterrupted runs leave the same bytes.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sca.data.runs.files import append_line, atomic_write
from sca.data.runs.store.entries import LedgerEntries
from sca.data.runs.store.entry import LedgerEntry, line_of
from sca.errors import InputError, writing
from sca.files.locks import HeldError, locked

__all__ = ["Ledger", "LedgerEntry", "lock_dir"]


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
def lock_dir(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writer, and make it if it does not exist.

    Raises:
        InputError: Another run holds it.
        OutputError: It cannot be made or written to, or its lock is a link or another special file.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock"))
        except HeldError as error:
            raise InputError(
                f"another run is writing to {folder}", hint="wait for it, or give another output folder"
            ) from error
        yield
