"""A log that cannot fill a disk: written through a pipe by a small process of its own, and read back.

`python -m sca.infer.turn.daemon.log_rotation FILE BYTES OLD` copies its standard input to FILE. A FILE that would grow beyond BYTES becomes
FILE.1, at the end of a line, FILE.1 becomes FILE.2, and so on; more than OLD of them are not kept. It ends with its input, so
whoever writes into the pipe is never stopped by a full disk, and what a dying server says is kept.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["RotatingLog", "follow", "tail"]

_BLOCK = 1 << 16
_POLL_S = 0.1


class RotatingLog:
    """The file and its predecessors. `write` never raises for a disk that is full: what cannot be kept is lost."""

    def __init__(self, path: Path, limit_bytes: int, keep: int) -> None:
        self._path, self._limit, self._keep = path, limit_bytes, keep
        self._file: BinaryIO | None = None

    def write(self, block: bytes) -> None:
        """Append bytes that were said, whole lines or not."""
        try:
            while block:
                cut = self._fitting(block)
                if cut:
                    self._open().write(block[:cut])
                block = block[cut:]
                if block:
                    self._rotate()
        except OSError:
            self.close()

    def _fitting(self, block: bytes) -> int:
        """How many bytes of it go into this file: all, or whole lines; a line too long for any file is broken."""
        used = self._open().tell()
        room = self._limit - used
        if len(block) <= room:
            return len(block)
        lines = block.rfind(b"\n", 0, max(room, 0)) + 1
        return lines or (0 if used else self._limit)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
            self._file.seek(0, os.SEEK_END)
        return self._file

    def _rotate(self) -> None:
        self.close()
        names = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._keep + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            with suppress(FileNotFoundError):
                newer.replace(older)
        if self._keep == 0:
            self._path.unlink(missing_ok=True)


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of the log, those of its predecessor included when it has just begun anew; none when there is none."""
    said = b""
    for one in (path, Path(f"{path}.1")):
        try:
            with one.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - lines * 500 - _BLOCK))
                said = file.read() + said
        except OSError:
            continue
        if said.count(b"\n") > lines:
            break
    return said.decode("utf-8", "replace").splitlines()[-lines:] if lines > 0 else []


def follow(path: Path, alive: Callable[[], bool]) -> Iterator[str]:
    """What is written to the log from now on, in pieces as they come, across rotations; ends when `alive` says so."""
    file = _opened(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            was_alive = alive()
            moved = file is None or not _is_still(file, path)
            said = file.read() if file is not None else b""
            if said:
                yield said.decode("utf-8", "replace")
            if moved and (newer := _opened(path)) is not None:
                if file is not None:
                    file.close()
                file = newer
            elif not said:
                if not was_alive:
                    return
                time.sleep(_POLL_S)
    finally:
        if file is not None:
            file.close()


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except OSError:
        return None


def _is_still(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _copy(path: Path, limit_bytes: int, keep: int) -> None:
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(wish, signal.SIG_IGN)  # it ends with its input
    log = RotatingLog(path, limit_bytes, keep)
    while block := os.read(0, _BLOCK):
        log.write(block)
    log.close()


if __name__ == "__main__":
    _copy(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
