"""What became of every item of a run: kept, dropped with a reason, or failed with an error. One JSON line an item.

Lines are appended whole and synced, so a crash costs at most the item in hand; `settle` rewrites the file with the last word
on each item, sorted, so that interrupted and unbroken runs end with the same bytes. Knows nothing of what the items are.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sca.data.runs.files import append_line, atomic_write
from sca.errors import InputError, writing

__all__ = ["Ledger", "LedgerEntry", "lock_dir"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One item's end. key: hash of its content and the settings, or what else makes it the same item.

    status: kept, dropped or failed; downloads say verified and skipped.   retryable: whether a failure may pass.
    """

    item: str
    key: str
    status: str
    reason: str | None = None
    retryable: bool = False
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The ledger file of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, LedgerEntry]:
        """The last entry of each item. A last line that was cut short by a crash is passed over."""
        found: dict[str, LedgerEntry] = {}
        for entry in self._read():
            found[entry.item] = entry
        return found

    def append(self, entry: LedgerEntry) -> None:
        """Add one line, whole and synced."""
        append_line(self.path, _line(entry))

    def settle(self, entries: Iterable[LedgerEntry]) -> None:
        """Replace the file by these entries, sorted by item."""
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(b"".join(_line(e) for e in sorted(entries, key=lambda e: e.item)))

    def _read(self) -> Iterator[LedgerEntry]:
        if not self.path.exists():
            return
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                plain = json.loads(line)
                yield LedgerEntry(**{**plain, "notes": tuple(plain.get("notes", ()))})
            except (ValueError, TypeError) as error:
                if number == len(lines):
                    return
                raise InputError(
                    f"{self.path}:{number}: not a ledger line ({error})", hint="take the line out"
                ) from error


def _line(entry: LedgerEntry) -> bytes:
    plain = {name: value for name, value in asdict(entry).items() if value not in (None, {}, (), False)}
    return json.dumps(plain, ensure_ascii=False).encode() + b"\n"


@contextmanager
def lock_dir(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writer, and make it if it does not exist.

    Raises:
        InputError: Another run holds it.
        OutputError: It cannot be made or written to.
    """
    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another run is writing to {folder}", hint="wait for it, or give another output folder"
            ) from error
    try:
        yield
    finally:
        lock.release()
