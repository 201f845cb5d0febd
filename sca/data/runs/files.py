"""Files of runs: JSON documents, lines that are appended, digests."""

import gzip
import json
import os
from collections.abc import Iterable
from contextlib import nullcontext
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

from sca.errors import InputError, TooLargeError, writing
from sca.files.atomic import atomic_write, check_no_link, publish
from sca.files.bounded import read_whole
from sca.urls.cache import at_hand, known_sha256

__all__ = [
    "Unchanged",
    "append_line",
    "atomic_write",
    "file_stat",
    "input_sha256",
    "publish",
    "read_json",
    "sha256_of",
    "write_json",
    "write_json_lines",
]


def write_json(path: Path, document: object) -> None:
    """Write one JSON document with `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def append_line(path: Path, line: bytes) -> None:
    """Append one line, synced. An incomplete last line, which a crash leaves, is removed first.

    Args:
        path: The file.
        line: The line, with its newline.

    Raises:
        OutputError: The file is a link, or cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_no_link(path)
        with path.open("a+b") as file:
            _truncate_incomplete_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _truncate_incomplete_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    at = end
    while at > 0:
        step = min(at, 4096)
        file.seek(at - step)
        newline = file.read(step).rfind(b"\n")
        if newline >= 0:
            at = at - step + newline + 1
            break
        at -= step
    if at < end:
        file.truncate(at)


def write_json_lines(path: Path, documents: Iterable[object]) -> None:
    """Write one JSON document per line with `atomic_write`; compressed if the name ends in .gz.

    The same documents give the same bytes every time.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as plain:
        # The header of gzip holds a name and a time, which would differ between runs.
        out = gzip.GzipFile("", "wb", fileobj=plain, mtime=0) if path.suffix == ".gz" else None
        with out or nullcontext(plain) as file:
            for document in documents:
                file.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex. That of a file at a URL may be known without reading it."""
    known = known_sha256(path)
    if known is not None:
        return known
    with at_hand(path).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def input_sha256(path: Path) -> str:
    """Return the SHA-256 of an input file's content in hex.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def file_stat(path: Path) -> list[int]:
    """Return the size in bytes and the modification time in ns. When they are unchanged, so is the content.

    Raises:
        InputError: The file cannot be read.
    """
    return _identity(path)[1:]


class Unchanged:
    """Checks that a file has not been replaced or changed while a result was made from it."""

    def __init__(self, path: Path) -> None:
        """Note the identity of a file before it is read.

        Raises:
            InputError: The file cannot be read.
        """
        self._path = path
        self._before = _identity(path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def identity(self) -> str:
        """The inode, the size and the modification time of the file, when it was noted, as text."""
        return " ".join(map(str, self._before))

    @property
    def changed_ns(self) -> int:
        """When the file was changed, in ns since 1970, by its modification time when it was noted."""
        return self._before[2]

    @property
    def stat(self) -> list[int]:
        """The size and the modification time of the file, see `file_stat`, when it was noted."""
        return self._before[1:]

    def holds(self) -> bool:
        """Return whether the file is still the same.

        Raises:
            InputError: It cannot be read.
        """
        return _identity(self._path) == self._before

    def check(self) -> None:
        """Check the file again, before the result gets its name.

        Raises:
            InputError: It has changed, or cannot be read.
        """
        if not self.holds():
            raise InputError(f"{self._path} changed while it was read", hint="run again when it is complete")


def _identity(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        InputError: The file is missing, or is not JSON.
    """
    try:
        return json.loads(read_whole(path).decode())
    except TooLargeError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from error
