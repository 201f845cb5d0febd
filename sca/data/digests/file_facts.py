"""What was found out about files by reading them: trusted as long as their size, times and inode stay the same.

A file is read again if anything of that has changed. A file that was changed less than two seconds before it was read
is read again by the next run too: a second change within the resolution of the file system's clock leaves the same time
(the "racy" entries of git's index, Documentation/technical/racy-git.adoc).

The facts are a cache in `.sca/.files.jsonl` of an output folder: without them, files are read again, and nothing else
changes. Lines have the format of ledgers, with the path as the item and the identity of the file as the key.
"""

import os
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sca.data.runs.files import Unchanged, input_sha256
from sca.data.runs.store.entries import LedgerEntries
from sca.data.runs.store.entry import LedgerEntry, line_of
from sca.errors import InputError, OutputError
from sca.files.atomic import atomic_write
from sca.urls.cache import place_of

__all__ = ["FileFacts"]

_RESOLUTION_NS = 2_000_000_000  # that of FAT, the coarsest clock of a file system in use
_SHA256 = "sha256"
_RACY = "changed just before it was read"
"""The key of a file with such an identity as no file has."""


class FileFacts:
    """The facts about the files that a run reads and writes. Threads may share them."""

    def __init__(self, folder: Path, *, read: bool = True) -> None:
        """Read the facts of earlier runs; none if they cannot be read.

        Args:
            folder: The output folder. Nothing is written before the first fact is noted.
            read: Whether to read them. Not in worker processes: only the process that plans asks for them.
        """
        self._folder, self._path = folder, folder / ".sca" / ".files.jsonl"
        self._lock = Lock()
        self._known: MutableMapping[str, LedgerEntry] = {}
        if read:
            with suppress(InputError):
                self._known = known = LedgerEntries(self._path, skip_broken=True)
                if known.lines > 2 * len(known) + 100:
                    self._settle()

    def __reduce__(self) -> "tuple[Callable[[Path], FileFacts], tuple[Path]]":
        """Return what another process makes of them: it adds facts."""
        return _for_worker, (self._folder,)

    def sha256(self, file: Unchanged) -> str:
        """Return the SHA-256 of a file, read only if it is not known.

        Args:
            file: The file, noted before this call.

        Raises:
            InputError: The file cannot be read.
        """
        if place_of(file.path) is not None:  # `sca.urls` knows the digests of files at URLs
            return input_sha256(file.path)
        known = self.get(file, _SHA256)
        if isinstance(known, str):
            return known
        begun_ns = time.time_ns()
        digest = input_sha256(file.path)
        # The identity is from before the read, so that of a file that changes meanwhile matches no later one.
        if begun_ns - file.changed_ns > _RESOLUTION_NS:
            self.note(file, _SHA256, digest)
        else:
            self._keep(LedgerEntry(_name(file.path), _RACY, "kept"))
        return digest

    def may_differ(self, file: Unchanged) -> bool:
        """Return whether a file may have changed since it was last read, as far as is known.

        A file that is not known may be one of an earlier version: size and time, which the ledger has, are all there is.
        """
        entry = self._known.get(_name(file.path))
        return entry is not None and entry.key != file.identity and place_of(file.path) is None

    def get(self, file: Unchanged, name: str) -> object:
        """Return a fact about a file; None if it is not known of the file as it is now."""
        entry = self._known.get(_name(file.path))
        return entry.extra.get(name) if entry is not None and entry.key == file.identity else None

    def note(self, file: Unchanged, name: str, value: object) -> None:
        """Keep a fact about a file that was not changed within two seconds, or that this run has written itself.

        Args:
            file: The file.
            name: The name of the fact.
            value: A JSON value.
        """
        item = _name(file.path)
        before = self._known.get(item)
        extra: dict[str, Any] = {} if before is None or before.key != file.identity else before.extra
        self._keep(LedgerEntry(item, file.identity, "kept", extra=extra | {name: value}))

    def _keep(self, entry: LedgerEntry) -> None:
        with self._lock:
            self._known[entry.item] = entry
            with suppress(OSError, UnicodeEncodeError):  # the fact is found out again in the next run
                self._append(line_of(entry))

    def _settle(self) -> None:
        """Rewrite the facts without outdated lines. What another process adds meanwhile is found out again."""
        with suppress(OutputError), atomic_write(self._path) as temporary, temporary.open("wb") as file:
            file.writelines(line_of(entry) for entry in self._known.values())

    def _append(self, line: bytes) -> None:
        """Append a line with one call, so that lines of two processes do not mix. It is not synced: it is a cache."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        opened = os.open(self._path, flags, 0o666)
        try:
            os.write(opened, line)
        finally:
            os.close(opened)


def _for_worker(folder: Path) -> FileFacts:
    return FileFacts(folder, read=False)


def _name(path: Path) -> str:
    return str(path.absolute())  # a link is another file: it may point elsewhere later
