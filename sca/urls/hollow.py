"""Hollow files: they have the size and the time of a file at a URL, and no content until it is needed.

A hollow file takes no space and no request. Folders of them can be listed, and a file that was worked on before is
recognized without reading it. Its mode has no permission to read, and the sticky bit, which has no meaning for files: a
program that does not know of hollow files gets an error and no zeros (unless root runs it).

The modification time has the second of the file at the URL, and as its fraction a hash of its identity (such as the
ETag), so it changes with the content.
"""

import os
import stat
from hashlib import blake2b
from pathlib import Path

__all__ = ["hollow_out", "is_hollow", "is_hollow_stat", "make_hollow", "make_whole", "stamp_of"]

_HOLLOW_MODE = stat.S_ISVTX
_WHOLE_MODE = 0o644
_NS = 1_000_000_000


def stamp_of(modified_s: float, identity: str) -> int:
    """Return the modification time in ns of the local file that stands for a file at a URL."""
    digest = blake2b(identity.encode(), digest_size=8).digest()
    return int(modified_s) * _NS + int.from_bytes(digest) % _NS


def is_hollow(path: Path) -> bool:
    """Return whether a file is hollow. A file that does not exist is not."""
    try:
        return is_hollow_stat(path.lstat())
    except OSError:
        return False


def is_hollow_stat(status: os.stat_result) -> bool:
    """Return whether the status is that of a hollow file."""
    return stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o1777 == _HOLLOW_MODE


def make_hollow(path: Path, size: int, stamp: int) -> None:
    """Create a hollow file, or replace what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, size)
        os.fchmod(descriptor, _HOLLOW_MODE)
    finally:
        os.close(descriptor)
    os.utime(path, ns=(stamp, stamp))


def hollow_out(path: Path) -> None:
    """Take the content away from a file. Its inode, size and time stay."""
    status = path.stat()
    path.chmod(_HOLLOW_MODE | stat.S_IWUSR)
    os.truncate(path, 0)
    os.truncate(path, status.st_size)
    path.chmod(_HOLLOW_MODE)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def make_whole(path: Path, stamp: int) -> None:
    """Mark a file whole whose content is complete, and give it its time."""
    os.utime(path, ns=(stamp, stamp))
    path.chmod(_WHOLE_MODE)
