"""Files that appear complete or not at all, also after a loss of power."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage

from sca.errors import OutputError, check_target, writing

__all__ = [
    "atomic_write",
    "cannot_write",
    "check_no_link",
    "create_new",
    "link_or_copy",
    "publish",
    "sync_folder",
    "temporary_of",
]

_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM})


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it, synced, when the block ends without an error.

    Args:
        path: The file to write. Its folder is made if it does not exist.

    Yields:
        The temporary path to write to, in the same folder.

    Raises:
        OutputError: `path` is something that no file can replace, see `check_target`, or cannot be written.
    """
    check_target(path)
    temporary = temporary_of(path)
    with writing(path):
        create_new(temporary)
        try:
            yield temporary
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def create_new(temporary: Path) -> None:
    """Create an empty file. What a killed run left, or a link in its place, is removed; no link is followed."""
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))


def check_no_link(path: Path) -> None:
    """Check that a file that is written in place, or a folder with such files, is no link to one elsewhere.

    Raises:
        OutputError: It is a link.
    """
    if path.is_symlink():
        raise OutputError(f"{path} is a link", hint="remove it, or give another output folder")


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, which takes no space; copy it in a file system without hard links.

    Args:
        source: The file. It must not be changed in place afterwards.
        target: The second name, which does not exist.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def temporary_of(path: Path) -> Path:
    """Return the temporary name of a file, cut to the length of a file name. It is the same in every run."""
    stem = path.name.encode()[:240].decode(errors="ignore")
    return path.with_name(f".{stem}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its final name in the same file system. Its content and then its names are synced."""
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
    if temporary.parent != path.parent:
        sync_folder(temporary.parent)  # or a power cut may bring the temporary name back


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system and the file system support it."""
    if os.name != "posix":
        return
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def cannot_write(path: Path, error: Exception) -> OutputError:
    """Return the error for a file that a library could not write, without the reason of the system: is the disk full?"""
    if disk_usage(path.parent).free < 1 << 20:
        hint = "free some space or give another folder; finished results are kept and a second run continues"
        return OutputError(f"the disk is full while writing {path}", hint=hint)
    return OutputError(f"{path} cannot be written ({error})")
