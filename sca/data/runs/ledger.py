"""The ledger of a run: one JSON line per item, with its status and the reason.

Lines are appended complete and synced, so a crash loses at most the item in progress. `settle` rewrites the file with
the last entry of each item, sorted, so that interrupted and uninterrupted runs leave the same bytes.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sca.data.runs.files import append_line, atomic_write
from sca.errors import InputError, writing
from sca.files.locks import HeldError, locked

__all__ = ["Ledger", "LedgerEntry", "lock_dir"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The last known state of an item.

    Attributes:
        item: The name of the item.
        key: Hash of the item's content and the settings, or another identity; an item with another key is not the same.
        status: "kept", "dropped" or "failed". Downloads have "verified" for kept, and "skipped" for kept in an earlier
            run.
        reason: Why it was dropped or failed.
        retryable: Whether the cause of a failure may pass.
        notes: Remarks.
        extra: Facts about the result, JSON values.
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
        """Return the last entry of each item. An incomplete last line, which a crash leaves, is ignored.

        Raises:
            InputError: A line is not an entry.
        """
        return {entry.item: entry for entry in self._read()}

    def append(self, entry: LedgerEntry) -> None:
        """Append one line, synced."""
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
                fields = json.loads(line)
                yield LedgerEntry(**{**fields, "notes": tuple(fields.get("notes", ()))})
            except (ValueError, TypeError) as error:
                if number == len(lines):
                    return
                raise InputError(
                    f"{self.path}:{number}: not a ledger line ({error})", hint="remove the line"
                ) from error


def _line(entry: LedgerEntry) -> bytes:
    fields = {name: value for name, value in asdict(entry).items() if value not in (None, {}, (), False)}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


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
