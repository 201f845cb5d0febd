"""The entries of a ledger by item, read from the file when they are needed.

A ledger of a million items is opened in seconds and a few hundred bytes of memory per item: every line is checked once,
and only the place of the last line of each item is kept.
"""

import os
import weakref
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import BinaryIO

from sca.data.runs.store.entry import LedgerEntry, item_of, parse_line
from sca.errors import InputError

__all__ = ["LedgerEntries"]

_LENGTH_BITS = 32
_LENGTH = (1 << _LENGTH_BITS) - 1


class LedgerEntries(MutableMapping[str, LedgerEntry]):
    """The last entry of each item. Changes are kept in memory and do not change the file.

    The entries are those of the moment of the constructor: lines that are appended later, and a file that takes the
    place of the ledger, do not change them.
    """

    def __init__(self, path: Path, *, skip_broken: bool = False) -> None:
        """Check every line of a ledger. An incomplete last line, which a crash leaves, is ignored.

        Args:
            path: The ledger. A file that does not exist has no entries.
            skip_broken: Whether to ignore lines that are not entries.

        Raises:
            InputError: A line is not an entry, or the file cannot be read.
        """
        self._path = path
        self.lines = 0
        """The number of lines that the file has."""
        self._known: dict[str, LedgerEntry | int] = {}
        """An entry, or the place of its line: its offset and its length in one number, which is smaller than a tuple."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        with file:
            self._index(file, skip_broken)
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)

    def _index(self, file: BinaryIO, skip_broken: bool) -> None:
        offset = 0
        for line in file:
            self.lines += 1
            if line.strip():
                try:
                    self._known[item_of(line)] = offset << _LENGTH_BITS | len(line)
                except ValueError as error:
                    if not line.endswith(b"\n"):
                        return
                    if not skip_broken:
                        raise self._broken(f":{self.lines}", error) from error
            offset += len(line)

    def __getitem__(self, item: str) -> LedgerEntry:
        found = self._known[item]
        if isinstance(found, LedgerEntry):
            return found
        try:
            # Reads without a position of its own, so that threads can share the file.
            return parse_line(os.pread(self._file, found & _LENGTH, found >> _LENGTH_BITS))
        except (OSError, ValueError) as error:
            raise self._broken("", error) from error

    def __setitem__(self, item: str, entry: LedgerEntry) -> None:
        self._known[item] = entry

    def __delitem__(self, item: str) -> None:
        del self._known[item]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, item: object) -> bool:
        return item in self._known

    def __repr__(self) -> str:
        return f"LedgerEntries({str(self._path)!r}, {len(self)} items)"

    def __reduce__(self) -> tuple[type, tuple[dict[str, LedgerEntry]]]:
        """Return a plain dict for other processes, which do not have the open file."""
        return dict, (dict(self),)

    def _broken(self, place: str, error: Exception) -> InputError:
        return InputError(f"{self._path}{place}: not a ledger line ({error})", hint="remove the line")
