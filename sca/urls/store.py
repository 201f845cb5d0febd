"""A folder at a URL: list, get, put and delete files, with the errors of sca."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from sca.errors import OutputError
from sca.textutil import first_line
from sca.urls.requests import connect, requesting, try_again

__all__ = ["Entry", "Store"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_IDENTITIES = ("ETag", "etag", "md5Hash", "blob_id", "oid", "generation")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file at a URL.

    Attributes:
        size: Its size in bytes.
        modified_s: When it was written, in seconds since 1970; 0 if the server does not say.
        identity: A text that changes with the content.
    """

    size: int
    modified_s: float
    identity: str


class Store:
    """The files below a URL, by their names relative to it. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Create the store without a request.

        Args:
            url: The URL of the folder.
        """
        self.url = url.rstrip("/")
        self._connected: tuple[int, Any, str] | None = None

    def entries(self) -> dict[str, Entry]:
        """Return the files below the URL; none if it does not exist. A URL of a single file has it under its name.

        Raises:
            UpstreamError: The URL cannot be read.
        """
        system, root = self._system()
        with requesting(self.url):
            try:
                system.invalidate_cache()
                found: Mapping[str, Mapping[str, Any]] = try_again(lambda: system.find(root, detail=True))
            except FileNotFoundError:
                return {}
        prefix = f"{root.strip('/')}/"
        entries = {}
        for path, info in found.items():
            name = path.lstrip("/").removeprefix(prefix)
            is_itself = path.strip("/") == root.strip("/")
            if info.get("type") == "file" and not path.endswith("/"):
                entries[PurePosixPath(path).name if is_itself else name] = _entry(info)
        return entries

    def names(self) -> list[str]:
        """Return the names of the files in the folder itself, not in those below it; none if it does not exist.

        Raises:
            UpstreamError: The URL cannot be read.
        """
        system, root = self._system()
        with requesting(self.url):
            try:
                found: list[dict[str, Any]] = try_again(lambda: system.ls(root, detail=True, refresh=True))
            except FileNotFoundError:
                return []
        return sorted(info["name"].rpartition("/")[2] for info in found if info["type"] == "file")

    def is_file(self) -> bool:
        """Return whether the URL is that of one file."""
        system, root = self._system()
        with requesting(self.url):
            return bool(try_again(lambda: system.isfile(root)))

    def entry(self, name: str) -> Entry:
        """Return a file as it is now.

        Raises:
            FileNotFoundError: It does not exist.
            UpstreamError: The URL cannot be read.
        """
        system, path = self._at(name)
        with requesting(f"{self.url}/{name}"):
            system.invalidate_cache(system._parent(path))
            return _entry(try_again(lambda: system.info(path)))

    def read(self, name: str) -> bytes:
        """Return the content of a small file. Errors are those of `entry`."""
        system, path = self._at(name)
        with requesting(f"{self.url}/{name}"):
            content: bytes = try_again(lambda: system.cat_file(path))
            return content

    def get(self, name: str, path: Path) -> None:
        """Write the content of a file to a local file, in its place.

        Raises:
            FileNotFoundError: It does not exist.
            UpstreamError: The URL cannot be read.
            OutputError: The disk is full.
        """
        system, source = self._at(name)
        with requesting(f"{self.url}/{name}"):
            try:
                try_again(lambda: system.get_file(source, str(path)))
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                hint = "free some space, or give less urls.cache_gb or another paths.cache_dir"
                raise OutputError(f"the disk with the cache is full ({path.parent})", hint=hint) from error

    def put(self, path: Path, name: str) -> None:
        """Upload a local file. It appears whole or not at all.

        Raises:
            UpstreamError: It cannot be written.
        """
        system, target = self._at(name)
        with _writing(f"{self.url}/{name}"):
            _make_parent(system, target)
            try_again(lambda: system.put_file(str(path), target))

    def write(self, name: str, content: bytes) -> None:
        """Write a small file. Errors are those of `put`."""
        system, target = self._at(name)
        with _writing(f"{self.url}/{name}"):
            _make_parent(system, target)
            try_again(lambda: system.pipe_file(target, content))

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file if it does not exist, in one request where the store has such one (S3, GCS).

        Returns:
            Whether it was written.

        Raises:
            UpstreamError: It cannot be written.
        """
        system, target = self._at(name)
        with _writing(f"{self.url}/{name}"):
            _make_parent(system, target)
            system.invalidate_cache()
            if system.exists(target):
                return False
            try:
                system.pipe_file(target, content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if _is_conflict(error):
                    return False
                raise
            return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that do not exist count as deleted.

        Raises:
            UpstreamError: They cannot be deleted.
        """
        system, root = self._system()
        for name in names:
            with _writing(f"{self.url}/{name}", "deleted"):
                try:
                    system.rm_file(f"{root}/{name}")
                except FileNotFoundError:
                    continue
        system.invalidate_cache()

    def _at(self, name: str) -> tuple[Any, str]:
        system, root = self._system()
        return system, f"{root}/{name}"

    def _system(self) -> tuple[Any, str]:
        """Return the file system of this process and the path in it."""
        if self._connected is None or self._connected[0] != os.getpid():
            with requesting(self.url):
                system, root = connect(self.url, {})
            self._connected = (os.getpid(), system, root.rstrip("/"))
        return self._connected[1], self._connected[2]


@contextmanager
def _writing(url: str, action: str = "written") -> Iterator[None]:
    """Turn the errors of requests that write into those of sca.

    Raises:
        InputError: The bucket or the repository does not exist.
        UpstreamError: It cannot be written.
    """
    try:
        with requesting(url, action):
            yield
    except FileNotFoundError as error:
        raise OutputError(f"{url} cannot be {action}: {first_line(error)}", hint="create the bucket first") from error


def _make_parent(system: Any, path: str) -> None:
    """Make the folder of a file where folders exist (file systems, memory); in object stores they do not."""
    if not system.async_impl:
        system.makedirs(path.rpartition("/")[0], exist_ok=True)


def _entry(info: Mapping[str, Any]) -> Entry:
    """Return what sca keeps of the description of a file."""
    modified = next((info[key] for key in _TIMES if info.get(key)), 0.0)
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified)
    seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified)
    identity = next((str(info[key]) for key in _IDENTITIES if info.get(key)), f"{info.get('size')} {seconds!r}")
    return Entry(int(info.get("size") or 0), seconds, identity)


def _is_conflict(error: Exception) -> bool:
    """Return whether a conditional request was refused because the file exists."""
    return any(word in str(error) for word in ("PreconditionFailed", "ConditionalRequestConflict", "conditionNotMet"))
