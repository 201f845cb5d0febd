"""Files on disk that stand for files at a URL: hollow ones get their content when it is needed, in a bounded cache.

A folder of the cache is `urls/DIGEST/NAME`, with what sca knows of it beside it:

    place.json       the URL, and how many bytes of hollow files may be whole at a time
    whole/HASH       one file per file that is whole and may become hollow again; its time is that of the last use
    known/HASH       the size, the time and the SHA-256 of a file
    locks/HASH       locked by the processes that use the file

Worker processes find all of this by the path of a file. `at_hand` is called wherever sca opens a recording.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, file_digest
from pathlib import Path

from sca.errors import InputError, UpstreamError, writing
from sca.files.atomic import atomic_write
from sca.urls.hollow import hollow_out, is_hollow, make_whole, stamp_of
from sca.urls.store import Store

__all__ = ["Addresses", "Place", "address_of", "at_hand", "in_use", "known_sha256", "make_room", "place_of"]

_DIGEST = re.compile(r"[0-9a-f]{20}")
_held: ContextVar[list[int] | None] = ContextVar("held", default=None)
"""Descriptors of the locks of the files that the job of this thread uses."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the cache that stands for a URL.

    Attributes:
        root: The folder.
        url: The URL.
        most_bytes: Bytes of recordings that may be whole at a time, besides those in use.
    """

    root: Path
    url: str
    most_bytes: int

    @property
    def home(self) -> Path:
        """The folder of the cache that has the root and what is known of it."""
        return self.root.parent

    def save(self) -> None:
        """Write what other processes need to know."""
        for name in ("whole", "known", "locks"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        text = json.dumps({"url": self.url, "most_bytes": self.most_bytes})
        with atomic_write(self.home / "place.json") as temporary:
            temporary.write_text(text, encoding="utf-8")
        _loaded.cache_clear()

    def name_of(self, path: Path) -> str:
        """Return the name of a file, relative to the URL."""
        return path.relative_to(self.root).as_posix()

    def known(self, name: str, size: int, stamp: int) -> str | None:
        """Return the SHA-256 of a file with this size and time, if sca has read it."""
        try:
            found = json.loads((self.home / "known" / _hash(name)).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return str(found["sha256"]) if [found.get("size"), found.get("stamp")] == [size, stamp] else None

    def learn(self, name: str, size: int, stamp: int, sha256: str) -> None:
        """Keep the SHA-256 of a file."""
        text = json.dumps({"name": name, "size": size, "stamp": stamp, "sha256": sha256})
        (self.home / "known" / _hash(name)).write_text(text, encoding="utf-8")

    def may_be_emptied(self, name: str) -> None:
        """Note that a file is whole, and that the URL has it: it may become hollow when others need the space."""
        (self.home / "whole" / _hash(name)).write_text(name, encoding="utf-8")


def place_of(path: Path) -> Place | None:
    """Return the folder of the cache that a file is in; None for all other files."""
    for folder in path.parents:
        home = folder.parent
        if _DIGEST.fullmatch(home.name) and home.parent.name == "urls":
            return _loaded(folder)
    return None


@lru_cache
def _loaded(root: Path) -> Place | None:
    try:
        fields = json.loads((root.parent / "place.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Place(root, fields["url"], fields["most_bytes"])


@contextmanager
def in_use() -> Iterator[None]:
    """Keep the files that `at_hand` returns in this block whole until it ends. Without it they are kept for the moment."""
    held: list[int] = []
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        for descriptor in held:
            os.close(descriptor)


def at_hand(path: Path) -> Path:
    """Return a file whose content can be read: a hollow one is fetched first. Other files are returned as they are.

    Raises:
        InputError: The file at the URL is another one now.
        UpstreamError: It cannot be fetched.
        OutputError: The cache cannot be written to.
    """
    place = place_of(path)
    if place is None:
        return path
    name = place.name_of(path)
    if not is_hollow(path) and not (place.home / "whole" / _hash(name)).exists():
        return path
    with writing(path):
        lock = os.open(place.home / "locks" / _hash(name), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _fetch_locked(place, name, path, lock)
        except BaseException:
            os.close(lock)
            raise
    held = _held.get()
    if held is None:
        os.close(lock)
    else:
        held.append(lock)
    return path


def address_of(path: Path) -> str:
    """Return the URL of a file of the cache, which all machines have for it, and the resolved path of all others."""
    place = place_of(path)
    return str(path.resolve()) if place is None else f"{place.url}/{place.name_of(path)}"


class Addresses:
    """`address_of` for the files of a run. Each folder is resolved once: for 20 000 files that takes a quarter of the time."""

    def __init__(self) -> None:
        self._folders: dict[Path, str | None] = {}  # None: a folder of a cache

    def of(self, path: Path) -> str:
        """Return the address of a file, see `address_of`."""
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = str(folder.resolve()) if place_of(path) is None else None
        found = self._folders[folder]
        return address_of(path) if found is None or path.is_symlink() else os.path.join(found, path.name)  # noqa: PTH118 - a quarter of the time of pathlib


def known_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file of the cache if it is known without reading the file; None for all others."""
    place = place_of(path)
    if place is None or not is_hollow(path):
        return None
    status = path.stat()
    return place.known(place.name_of(path), status.st_size, status.st_mtime_ns)


def _fetch_locked(place: Place, name: str, path: Path, lock: int) -> None:
    """Make a file whole, and hold its lock together with other readers."""
    import fcntl

    fcntl.flock(lock, fcntl.LOCK_SH)
    while is_hollow(path):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_hollow(path):
            _fetch(place, name, path)
        fcntl.flock(lock, fcntl.LOCK_SH)  # not atomic: another process may make it hollow in between
    with suppress(OSError):
        (place.home / "whole" / _hash(name)).touch()


def _fetch(place: Place, name: str, path: Path) -> None:
    """Write the content of a hollow file into it: its inode stays, so that it counts as unchanged."""
    status = path.stat()
    size, stamp = status.st_size, status.st_mtime_ns
    make_room(place, size)
    store = Store(place.url)
    try:
        path.chmod(0o1600)
        store.get(name, path)
        with path.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
        known = place.known(name, size, stamp)
        if (
            path.stat().st_size != size
            or (known not in (None, sha256))
            or (known is None and not _is_same(store, name, stamp))
        ):
            raise InputError(f"{place.url}/{name} changed while it was read", hint="run again when it is complete")
    except FileNotFoundError as error:
        os.truncate(path, size)
        _restore(path, stamp)
        raise UpstreamError(f"{place.url}/{name} is gone", hint="run again: the folder is listed anew") from error
    except BaseException:
        os.truncate(path, size)
        _restore(path, stamp)
        raise
    if known is None:
        place.learn(name, size, stamp, sha256)
    place.may_be_emptied(name)
    make_whole(path, stamp)


def _is_same(store: Store, name: str, stamp: int) -> bool:
    """Return whether the file at the URL is the one that was listed."""
    entry = store.entry(name)
    return stamp_of(entry.modified_s, entry.identity) == stamp


def _restore(path: Path, stamp: int) -> None:
    os.utime(path, ns=(stamp, stamp))
    hollow_out(path)


def make_room(place: Place, needed: int = 0) -> None:
    """Make files hollow that are not in use, those first that were used longest ago, until the bound is kept.

    Args:
        place: The folder.
        needed: Bytes that are going to be added.
    """
    import fcntl

    found = sorted(_whole_files(place), key=lambda entry: entry[0])
    total = needed + sum(size for _, size, _, _ in found)
    for _, size, note, path in found:
        if total <= place.most_bytes:
            return
        lock = os.open(place.home / "locks" / note.name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and not is_hollow(path):
                hollow_out(path)
            note.unlink(missing_ok=True)
            total -= size
        except BlockingIOError:
            continue  # in use
        finally:
            os.close(lock)


def _whole_files(place: Place) -> Iterator[tuple[float, int, Path, Path]]:
    """Yield the files that may become hollow: time of the last use, size, note, file."""
    for note in (place.home / "whole").iterdir():
        with suppress(OSError):
            path = place.root / note.read_text(encoding="utf-8")
            yield note.stat().st_mtime, path.stat().st_size, note, path


def _hash(name: str) -> str:
    return blake2b(name.encode(errors="surrogateescape"), digest_size=16).hexdigest()
