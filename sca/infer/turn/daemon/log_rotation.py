"""A log of bounded size, written by a process of its own, and functions to read it.

`python -m sca.infer.turn.daemon.log_rotation FILE BYTES OLD` copies its standard input to FILE. Before FILE would
exceed BYTES, it is renamed to FILE.1, FILE.1 to FILE.2, and so on; at most OLD of them are kept. The process ends with
its input, so a full disk never blocks the server that writes to the pipe, and the last output of a crashing server is
kept.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

__all__ = ["RotatingLog", "follow", "tail"]

_BLOCK_BYTES = 1 << 16
_LINE_BYTES = 500  # more than most lines have
_POLL_S = 0.1
_ENCODING = "latin-1"  # one character per byte, so that any bytes are written unchanged and lengths are in bytes


class RotatingLog(RotatingFileHandler):
    """A rotating log of raw bytes. What cannot be written, because the disk is full, is lost."""

    terminator = ""

    def __init__(self, path: Path, max_bytes: int, old_files: int) -> None:
        """Open a log for appending. The file is created by the first `write`.

        Args:
            path: The file.
            max_bytes: The largest size of a file.
            old_files: How many rotated files are kept.
        """
        super().__init__(path, maxBytes=max_bytes, backupCount=old_files, encoding=_ENCODING, delay=True)
        self._piece_bytes = max(1, max_bytes - 1)  # the base class rotates before a file would have `max_bytes`

    def write(self, block: bytes) -> None:
        """Append bytes. A file ends at the end of a line, unless a line is longer than a whole file."""
        for line in block.splitlines(keepends=True):
            for start in range(0, len(line), self._piece_bytes):
                piece = line[start : start + self._piece_bytes].decode(_ENCODING)
                self.emit(logging.makeLogRecord({"msg": piece}))

    @override
    def doRollover(self) -> None:
        if self.backupCount == 0:  # the base class would continue with the same file
            self._close_stream()
            Path(self.baseFilename).unlink(missing_ok=True)
        else:
            super().doRollover()

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        self._close_stream()  # the next record opens the file again

    def _close_stream(self) -> None:
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()
            self.stream = None


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, including those of the file before it if it has just been rotated.

    Args:
        path: The log. It need not exist.
        lines: How many lines.
    """
    content = b""
    for part in (path, Path(f"{path}.1")):
        try:
            with part.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - lines * _LINE_BYTES - _BLOCK_BYTES))
                content = file.read() + content
        except OSError:
            continue
        if content.count(b"\n") > lines:
            break
    return content.decode("utf-8", "replace").splitlines()[-lines:] if lines > 0 else []


def follow(path: Path, is_active: Callable[[], bool]) -> Iterator[str]:
    """Yield what is appended to a log from now on, across rotations.

    Args:
        path: The log.
        is_active: Returns whether the log may still be written. When it is not, the iteration ends.

    Yields:
        Pieces of the log as they are written.
    """
    file = _open(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            active = is_active()
            rotated = file is None or not _is_same_file(file, path)
            content = file.read() if file is not None else b""
            if content:
                yield content.decode("utf-8", "replace")
            if rotated and (newer := _open(path)) is not None:
                if file is not None:
                    file.close()
                file = newer
            elif not content:
                if not active:
                    return
                time.sleep(_POLL_S)
    finally:
        if file is not None:
            file.close()


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except OSError:
        return None


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _copy_stdin(path: Path, max_bytes: int, old_files: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the process ends with its input
    log = RotatingLog(path, max_bytes, old_files)
    while block := os.read(0, _BLOCK_BYTES):
        log.write(block)
    log.close()


if __name__ == "__main__":
    _copy_stdin(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
