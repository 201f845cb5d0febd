"""Input from a URL: a folder in the cache with its small files, and hollow ones in place of the recordings."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from sca.errors import InputError, UpstreamError, writing
from sca.files.atomic import atomic_write
from sca.files.locks import HeldError, locked
from sca.urls.address import folder_of, parent_and_name
from sca.urls.cache import Place
from sca.urls.hollow import make_hollow, make_whole, stamp_of
from sca.urls.manifest import Listed, trusted
from sca.urls.store import Entry, Store
from sca.urls.threads import in_threads

__all__ = ["Copied", "Record", "UrlCache", "held_for_writing", "mirror", "pull"]

_THREADS = 8
_WRITING = "writing"
"""Exists in the folder of the cache while a command writes to the URL."""


@dataclass(frozen=True, slots=True)
class UrlCache:
    """Where files of URLs are on disk.

    Attributes:
        folder: The folder of caches.
        most_bytes: Bytes of recordings of one URL that are kept at a time.
        on_demand: The suffixes of files that are fetched when they are needed, in lower case with the dot.
    """

    folder: Path
    most_bytes: int
    on_demand: frozenset[str]

    def place(self, url: str, part: str = "") -> Place:
        """Return the folder that stands for a URL, or for a part of it that a command writes."""
        return Place(folder_of(url, self.folder, part), url.rstrip("/"), self.most_bytes)


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that the cache and the URL both have.

    Attributes:
        identity: Its identity at the URL.
        size: Its size in bytes.
        stamp: The modification time of the local file in ns.
    """

    identity: str
    size: int
    stamp: int


@dataclass(slots=True)
class Record:
    """What the folder of the cache has of a URL.

    Attributes:
        generation: The generation of the list of the URL, see `Manifest`; empty without a list.
        files: The files, by name.
    """

    generation: str = ""
    files: dict[str, Copied] = field(default_factory=dict)

    @classmethod
    def load(cls, home: Path) -> "Record":
        """Read the record; one that is missing or damaged is empty."""
        try:
            document = json.loads((home / "files.json").read_text(encoding="utf-8"))
            return cls(document["generation"], {name: Copied(**fields) for name, fields in document["files"].items()})
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def save(self, home: Path) -> None:
        """Write the record."""
        document = {"generation": self.generation, "files": {name: asdict(file) for name, file in self.files.items()}}
        with atomic_write(home / "files.json") as temporary:
            temporary.write_text(json.dumps(document), encoding="utf-8")


def mirror(url: str, cache: UrlCache) -> Path:
    """Return the path that stands for a folder or a file at a URL, with the state of now.

    Small files are copied if they are missing or have changed. Recordings become hollow files, which `at_hand` fetches.

    Raises:
        InputError: The URL has no files, or one whose name a disk cannot have.
        UpstreamError: It cannot be read.
        OutputError: The cache cannot be written to.
    """
    place, store = cache.place(url), Store(url)
    entries = store.entries()
    if not entries:
        raise InputError(f"{url} does not exist or has no files")
    name = parent_and_name(url)[1]
    is_file = list(entries) == [name] and store.is_file()
    if is_file:
        parent = parent_and_name(url)[0]
        place, store = Place(place.root, parent, place.most_bytes), Store(parent)
    with writing(place.root):
        place.root.mkdir(parents=True, exist_ok=True)
        place.save()
    with _synced_by_one(place) as is_ours:
        if is_ours:
            found, listed = (entries, {}) if is_file else trusted(store, entries)
            record = Record.load(place.home)
            pull(place, store, found, listed, record, on_demand=cache.on_demand)
            record.save(place.home)
    return place.root / name if is_file else place.root


def pull(
    place: Place,
    store: Store,
    entries: Mapping[str, Entry],
    listed: Mapping[str, Listed],
    record: Record,
    *,
    on_demand: frozenset[str],
    keep_changes: bool = False,
) -> None:
    """Bring the folder of the cache to the state of a URL.

    Args:
        place: The folder.
        store: The URL.
        entries: Its files.
        listed: Their checksums, as far as they are known.
        record: What the folder has of the URL; updated.
        on_demand: The suffixes of files that become hollow.
        keep_changes: Whether to keep what a command has changed in the folder and not uploaded yet.

    Raises:
        InputError: A name is none that a disk can have.
        UpstreamError: A file cannot be read.
        OutputError: The cache cannot be written to.
    """
    small = []
    for name, entry in entries.items():
        path, known = _path(place, store, name), record.files.get(name)
        if known is not None and known.identity == entry.identity and (keep_changes or _is_intact(path, known)):
            continue
        stamp = stamp_of(entry.modified_s, entry.identity)
        if entry.size and path.suffix.lower() in on_demand and os.name == "posix":
            with _making(store, name, path):
                make_hollow(path, entry.size, stamp)
            if name in listed and listed[name].sha256:
                place.learn(name, entry.size, stamp, listed[name].sha256)
            record.files[name] = Copied(entry.identity, entry.size, stamp)
        else:
            small.append((name, path, stamp))
    for name, stamp in in_threads(lambda file: _copy(store, *file), small, _THREADS):
        record.files[name] = Copied(entries[name].identity, entries[name].size, stamp)
    for name in record.files.keys() - entries.keys():
        path = place.root / name
        if _is_intact(path, record.files.pop(name)):
            path.unlink()
    if not keep_changes:
        _remove_others(place, set(entries))


@contextmanager
def _synced_by_one(place: Place) -> Iterator[bool]:
    """Hold the folder of the cache. Returns whether it is ours, and not that of a command that writes to the URL now."""
    try:
        with locked(place.home / "lock"):
            yield True
    except HeldError:
        if (place.home / _WRITING).exists():
            yield False  # its folder has the newest state
            return
        with locked(place.home / "lock", on_wait=lambda: None):
            yield True


@contextmanager
def held_for_writing(place: Place) -> Iterator[None]:
    """Hold the folder of the cache for a command that writes to the URL.

    Raises:
        InputError: Another command on this machine writes to it.
    """
    with writing(place.home):
        place.root.mkdir(parents=True, exist_ok=True)
        place.save()
    try:
        with locked(place.home / "lock"):
            mark = place.home / _WRITING
            mark.touch()
            try:
                yield
            finally:
                mark.unlink(missing_ok=True)
    except HeldError as error:
        if error.message.startswith(str(place.home)):
            raise InputError(
                f"another run is writing to {place.url}", hint="wait for it, or give another output folder"
            ) from error
        raise


def _path(place: Place, store: Store, name: str) -> Path:
    """Return the local path of a file.

    Raises:
        InputError: Its name leads out of the folder.
    """
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or PurePosixPath(name).is_absolute()
        or "\\" in name
        or "\0" in name
    ):
        raise InputError(f"{store.url} has a file whose name no folder can have: {name!r}", hint="rename it")
    return place.root.joinpath(*parts)


def _is_intact(path: Path, known: Copied) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (known.size, known.stamp)


def _copy(store: Store, name: str, path: Path, stamp: int) -> tuple[str, int]:
    """Copy a file, and give it its time."""
    with _making(store, name, path):
        with atomic_write(path) as temporary:
            try:
                store.get(name, temporary)
            except FileNotFoundError as error:
                raise UpstreamError(f"{store.url}/{name} is gone", hint="run again") from error
        make_whole(path, stamp)
    return name, stamp


@contextmanager
def _making(store: Store, name: str, path: Path) -> Iterator[None]:
    """Explain why a file cannot be made in the cache.

    Raises:
        InputError: Its name is also that of a folder.
        OutputError: The cache cannot be written to.
    """
    try:
        with writing(path):
            yield
    except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise InputError(f"{store.url}/{name} is a file and a folder", hint="rename one of them") from error


def _remove_others(place: Place, names: set[str]) -> None:
    """Remove the files of the cache that the URL does not have."""
    wanted = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    for folder, folders, files in os.walk(place.root):
        inner = Path(folder)
        for name in files:
            if place.name_of(inner / name) not in names:
                (inner / name).unlink(missing_ok=True)
        for name in [name for name in folders if place.name_of(inner / name) not in wanted]:
            shutil.rmtree(inner / name, ignore_errors=True)
            folders.remove(name)
