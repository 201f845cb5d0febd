"""Counts the file operations of Python code below one folder, and lets a fault act before each of them.

`Disk.install` replaces the functions of `os` and `io` that open, write, sync, rename and remove files. An operation is a
`Step` with a number. Operations of native libraries (FFmpeg, libsndfile, Arrow) and of child programs are no steps: what
they write is under temporary names, and the steps before and after it are counted.
"""

import builtins
import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Disk", "Fault", "Step"]


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        number: Its number in the run, from 0.
        kind: create, write, sync, rename, unlink, mkdir, rmdir, link, truncate; open and read change nothing.
        path: The file, for a rename the new name.
    """

    number: int
    kind: str
    path: str

    @property
    def changes(self) -> bool:
        """Whether the step changes the disk."""
        return self.kind not in ("open", "read")


Fault = Callable[[Step, Callable[[], None]], None]
"""Called before a step, with a function that does half of it (of a write, the first half of the bytes)."""


class Disk:
    """The operations below a folder.

    Attributes:
        steps: The steps so far.
    """

    def __init__(self, root: Path, fault: Fault) -> None:
        """Create the counter.

        Args:
            root: The folder. Operations elsewhere are not counted.
            fault: Acts before each step: it may raise, end the process, or do nothing.
        """
        self.steps: list[Step] = []
        self._root = os.path.realpath(root) + os.sep
        self._fault = fault
        self._lock = threading.RLock()
        self._paused = False
        self._pending: dict[str, OSError] = {}

    def step(self, kind: str, path: str, half: Callable[[], None] = lambda: None) -> None:
        """Count a step, and let the fault act. What the fault itself does is not counted."""
        with self._lock:
            if self._paused or not path.startswith(self._root):
                return
            if kind == "write" and path in self._pending:
                raise self._pending.pop(path)
            step = Step(len(self.steps), kind, path.removeprefix(self._root))
            self.steps.append(step)
            self._paused = True
            try:
                self._fault(step, half)
            finally:
                self._paused = False

    def write(self, path: str, data: bytes, write: Callable[[bytes], int]) -> int:
        """Write as the system does: an error after a part of the bytes is that of the next write.

        Args:
            path: The file.
            data: The bytes.
            write: Writes them, and returns how many were written.

        Returns:
            How many were written.
        """
        written: list[int] = []
        try:
            self.step("write", path, lambda: written.append(write(data[: len(data) // 2])))
        except OSError as error:
            if not written or not written[0]:
                raise
            self._pending[path] = error
            return written[0]
        return write(data)

    def install(self) -> None:
        """Replace the functions of this process. There is no way back: use it in a child process."""
        _replace_opens(self)
        for name, kind in _OF_PATHS.items():
            _replace(name, kind, lambda args, kwargs: _full(args[0], kwargs.get("dir_fd")), self)
        for name in ("rename", "replace", "link", "symlink"):
            kind = "link" if "link" in name else "rename"
            _replace(name, kind, lambda args, kwargs: _full(args[1], kwargs.get("dst_dir_fd")), self)
        self._replace_write()
        for name, kind in (("fsync", "sync"), ("fdatasync", "sync"), ("ftruncate", "truncate")):
            _replace(name, kind, lambda args, _: _of_descriptor(args[0]), self)
        _replace("sendfile", "write", lambda args, _: _of_descriptor(args[0]), self)

    def _replace_write(self) -> None:
        original = os.write
        os.write = lambda number, data: self.write(
            _of_descriptor(number), bytes(data), lambda part: original(number, part)
        )


_OF_PATHS = {"unlink": "unlink", "remove": "unlink", "rmdir": "rmdir", "mkdir": "mkdir", "truncate": "truncate"}


def _full(path: object, folder: int | None = None) -> str:
    if isinstance(path, int):
        return _of_descriptor(path)
    name = os.fsdecode(os.fspath(path))  # type: ignore[call-overload]
    if folder is not None and not name.startswith(os.sep):
        return os.path.join(_of_descriptor(folder), name)  # noqa: PTH118 - for speed
    return os.path.abspath(name)  # noqa: PTH100 - links stay links


def _of_descriptor(file: object) -> str:
    number = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
    try:
        return os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - for speed
    except OSError:
        return ""


def _replace(name: str, kind: str, path_of: Callable[[tuple, dict], str], disk: Disk) -> None:
    original = getattr(os, name)

    def counted(*args, **kwargs):
        disk.step(kind, path_of(args, kwargs))
        return original(*args, **kwargs)

    _set(name, original, counted)


def _set(name: str, original: Callable, counted: Callable) -> None:
    setattr(os, name, counted)
    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if original in known:
            known.add(counted)


def _replace_opens(disk: Disk) -> None:
    os_open, plain_open = os.open, io.open

    def counted_os_open(path, flags, mode=0o777, *, dir_fd=None):
        kind = "create" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open"
        disk.step(kind, _full(path, dir_fd))
        return os_open(path, flags, mode, dir_fd=dir_fd)

    class Raw(io.FileIO):
        """A file whose operations are steps."""

        def __init__(self, file, mode, closefd, opener, path) -> None:
            if not isinstance(file, int):
                disk.step("open" if mode == "r" else "create", path)
            super().__init__(file, mode, closefd, opener)
            self.path, self._was_read = path, False

        def write(self, data):
            return disk.write(self.path, bytes(data), super().write)

        def truncate(self, size=None):
            disk.step("truncate", self.path)
            return super().truncate(size)

        def _first(self) -> None:
            if not self._was_read:
                self._was_read = True
                disk.step("read", self.path)

        def readinto(self, buffer):
            self._first()
            return super().readinto(buffer)

        def readall(self):
            self._first()
            return super().readall()

        def read(self, size=-1):
            self._first()
            return super().read(size)

    def counted_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        path = _full(file)
        if not path.startswith(disk._root):
            return plain_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener, path)
        if buffering == 0:
            return raw
        both, size = "+" in mode, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        kind = io.BufferedRandom if both else io.BufferedReader if "r" in mode else io.BufferedWriter
        buffered = kind(raw, size)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
        text.mode = mode
        return text

    _set("open", os_open, counted_os_open)
    io.open = builtins.open = counted_open
