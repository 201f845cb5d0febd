"""Locks on files: one process at a time, until it ends. A lock that fails is told apart from one that is held."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sca.errors import InputError, OutputError, writing

__all__ = ["HeldError", "locked"]


class HeldError(InputError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, on_wait: Callable[[], object] | None = None, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, which is made if it does not exist. It stays when the lock is released.

    Args:
        path: The file. Its folder exists.
        on_wait: Called if another process holds the lock, before this one waits. Not set: it does not wait.
        timeout_s: How long it is tried before that, for locks that are held for moments only.

    Raises:
        HeldError: Another process holds it, and `on_wait` is not set.
        OutputError: The file is a link or another special file, or the system cannot lock it.
    """
    from filelock import FileLock, Timeout

    with writing(path):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise OutputError(f"{path} is not a regular file", hint="remove it, or give another output folder")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout as error:
            _raise_failure(path)
            if on_wait is None:
                raise HeldError(f"{path} is held by another process", hint="wait for it") from error
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _raise_failure(path: Path) -> None:
    """Raise the error of the system if a lock fails although nobody holds it; filelock before 4 reports a timeout then."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        with suppress(BlockingIOError, PermissionError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
