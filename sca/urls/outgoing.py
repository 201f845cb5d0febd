"""Output to a URL: a command writes to a folder in the cache, and finished files are uploaded while it works.

    with published(url, cache) as folder:
        ...  # everything that appears in the folder under its final name is uploaded

Commands of sca give a file its name when it is complete, so every file with a final name is a finished one. A round of
uploads begins with copies of the ledgers, continues with all other files, then these ledgers, then the files that mark a
finished data set, and ends with the list of all files (`sca.urls.manifest`). Whatever is interrupted, the ledger at the
URL names only files that are there, and files that the list does not name do not count.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from sca.errors import ScaError, UpstreamError, writing
from sca.urls.cache import Place, make_room
from sca.urls.hollow import is_hollow_stat
from sca.urls.lock import LOCK_EXPIRES_S, UrlLock
from sca.urls.manifest import OWN_FILES, Listed, Manifest, manifest_name, read_manifest, trusted
from sca.urls.mirror import Copied, Record, UrlCache, held_for_writing, pull
from sca.urls.store import Entry, Store
from sca.urls.threads import in_threads

__all__ = ["is_final", "published"]

_LAST = ("dataset_dict.json", "export.json")
"""Files that mark a data set or an export as complete."""
_OWN = ".sca"
"""The folder of what sca keeps, in the output of a command; that of a recipe has the outputs of its stages in it."""
_THREADS = 4
_INTERRUPT_S = 1.5
"""How long an interrupt waits for uploads in progress."""
_RENEW_S = LOCK_EXPIRES_S / 6
_WORK_SHARE = 10
"""A round begins at the earliest when this many times the length of the last round has passed."""


def is_final(name: str) -> bool:
    """Return whether a file has its final name: it is no temporary file, lock or scratch file."""
    parts = name.split("/")
    if any(part.startswith(".") and part != _OWN for part in parts) or parts[-1].endswith((".lock", ".part", ".tmp")):
        return False
    return (_OWN, "scratch") not in pairwise(parts)


@contextmanager
def published(
    url: str,
    cache: UrlCache,
    *,
    part: str = "",
    stem: str = "",
    every_s: float,
    on_note: Callable[[str], None],
) -> Iterator[Path]:
    """Yield a folder on disk whose files are uploaded to a URL.

    The folder begins with what is at the URL, recordings as hollow files. When the block ends, also with an error, the
    rest is uploaded; after an interrupt only what takes about a second, and the next run uploads the rest.

    Args:
        url: The URL of the folder.
        cache: Where files of URLs are on disk.
        part: The name of the part of the folder that the command writes, such as a shard or a file. Commands that write
            other parts may run at the same time.
        stem: What the names of the files begin with that the command may need to see; empty for all files.
        every_s: Seconds between two rounds of uploads.
        on_note: Called with remarks.

    Raises:
        InputError: Another run writes to the URL.
        UpstreamError: It cannot be read or written.
        OutputError: The cache cannot be written to, or another run took over the URL.
    """
    place, store = cache.place(url, part), Store(url)
    with held_for_writing(place):
        lock = UrlLock(store, part)
        if remark := lock.take():
            on_note(remark)
        try:
            uploader = _Uploader(place, store, lock, cache, on_note, manifest=manifest_name(part), stem=stem)
            uploader.begin()
            with _in_background(uploader, every_s):
                yield place.root
            uploader.check()
        finally:
            with suppress(ScaError):  # it expires
                lock.release()


@contextmanager
def _in_background(uploader: "_Uploader", every_s: float) -> Iterator[None]:
    """Upload from time to time, and at the end of the block."""
    with _thread(uploader.hold_lock):
        try:
            with _thread(uploader.serve, every_s):
                yield
        except KeyboardInterrupt:
            with _thread(uploader.finish_soon):
                raise
        except BaseException:
            with suppress(ScaError):  # the error of the command is the one to report
                uploader.upload()
            raise
        uploader.upload()


@contextmanager
def _thread(work: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Run a function in a thread, with an event that is set when the block ends, and `arguments`."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended, *arguments), name="sca-upload", daemon=True)
    thread.start()
    join_s: float | None = None
    try:
        yield
    except KeyboardInterrupt:
        join_s = _INTERRUPT_S  # a thread that is still busy then ends with the process
        raise
    finally:
        ended.set()
        thread.join(join_s)


class _Uploader:
    """Uploads what has changed in a folder."""

    def __init__(
        self,
        place: Place,
        store: Store,
        lock: UrlLock,
        cache: UrlCache,
        on_note: Callable[[str], None],
        *,
        manifest: str,
        stem: str,
    ) -> None:
        self._place, self._store, self._lock, self._cache, self._on_note = place, store, lock, cache, on_note
        self._stem, self._manifest_name = stem, manifest
        self._record = Record.load(place.home)
        self._manifest = Manifest()
        self._error: ScaError | None = None

    def begin(self) -> None:
        """Bring the folder to the state of the URL, but keep what this machine has not uploaded yet."""
        before = read_manifest(self._store, self._manifest_name)
        self._manifest = before or Manifest()
        found, listed = trusted(self._store, self._entries())
        keep = self._record.generation == self._manifest.generation
        pull(
            self._place,
            self._store,
            found,
            listed,
            self._record,
            on_demand=self._cache.on_demand,
            keep_changes=keep,
        )
        # Files that another program uploaded stay; their checksums are not known.
        files = {name: listed.get(name) or Listed(entry.size, "", entry.identity) for name, entry in found.items()}
        self._manifest = Manifest(self._manifest.generation, files)
        self._record.generation = self._manifest.generation
        self._record.save(self._place.home)
        if before is None:
            self._write_manifest()  # from now on, what a killed run uploads does not count

    def _entries(self) -> dict[str, Entry]:
        """Return the files at the URL that the command may need to see."""
        stem = self._stem
        if not stem:
            return self._store.entries()
        names = [
            name for name in self._store.names() if name.startswith((stem, OWN_FILES)) or name in self._manifest.files
        ]
        return {name: self._store.entry(name) for name in names}

    def serve(self, ended: threading.Event, every_s: float) -> None:
        """Upload until the end; a round that fails is repeated."""
        last_s = 0.0
        while not ended.wait(max(every_s, _WORK_SHARE * last_s)):
            begin_s = time.monotonic()
            try:
                self.upload()
            except UpstreamError as error:
                self._on_note(f"{error.message}; trying again")
            except ScaError as error:
                self._error = error
                return
            last_s = time.monotonic() - begin_s

    def hold_lock(self, ended: threading.Event) -> None:
        """Renew the lock until the end."""
        while not ended.wait(_RENEW_S):
            try:
                self._lock.renew()
            except UpstreamError:
                continue  # it is valid for several of these
            except ScaError as error:
                self._error = error
                return

    def finish_soon(self, _: threading.Event) -> None:
        """Upload what fits into the time that an interrupt allows; the next run uploads the rest."""
        with suppress(ScaError):
            self.upload()

    def check(self) -> None:
        """Raise the error that ended the uploads in the background.

        Raises:
            ScaError: There is one.
        """
        if self._error is not None:
            raise self._error

    def upload(self) -> None:
        """Do one round.

        Raises:
            UpstreamError: The URL cannot be written.
            OutputError: Another run took it over.
        """
        self.check()
        with writing(self._place.home), TemporaryDirectory(dir=self._place.home, prefix="round-") as folder:
            found = self._changed()
            gone = [name for name in self._manifest.files if not os.path.lexists(self._place.root / name)]
            if not found and not gone:
                return
            self._lock.check()
            self._forget([name for name in gone if Path(name).name in _LAST])
            ledgers = [name for name in found if name.endswith(".jsonl")]
            copies = Path(folder)
            taken = self._snapshot(ledgers, copies)
            others = [name for name in self._changed() if name not in ledgers]
            marks = [name for name in others if Path(name).name in _LAST]
            self._send(self._snapshot([name for name in others if name not in marks], copies))
            self._send(taken)
            self._send(self._snapshot(marks, copies))
            self._forget(gone)

    def _changed(self) -> list[str]:
        """Return the files with a final name that the URL does not have as they are."""
        names = []
        for folder, _, files in os.walk(self._place.root):
            for file in files:
                path = Path(folder, file)
                name = self._place.name_of(path)
                with suppress(OSError):
                    status = path.lstat()
                    known = self._record.files.get(name)
                    is_same = known is not None and (known.size, known.stamp) == (status.st_size, status.st_mtime_ns)
                    if is_final(name) and not is_hollow_stat(status) and not is_same:
                        names.append(name)
        return sorted(names)

    def _snapshot(self, names: list[str], folder: Path) -> list[tuple[str, Path, int]]:
        """Return names with a file that does not change any more, and the time of the original."""
        taken = []
        for name in names:
            original, snapshot = self._place.root / name, folder / uuid.uuid4().hex
            with suppress(FileNotFoundError):  # removed by the command
                stamp = original.stat().st_mtime_ns
                if name.endswith(".jsonl"):
                    shutil.copyfile(original, snapshot)  # ledgers grow in place
                else:
                    os.link(original, snapshot)  # others are replaced
                taken.append((name, snapshot, stamp))
        return taken

    def _send(self, files: list[tuple[str, Path, int]]) -> None:
        """Upload files, and then the list with them."""
        if not files:
            return
        sent = in_threads(self._send_one, files, _THREADS)
        is_new = any(self._manifest.files.get(name) != listed for name, listed, _ in sent)
        for name, listed, copied in sent:
            self._manifest.files[name], self._record.files[name] = listed, copied
            self._place.learn(name, copied.size, copied.stamp, listed.sha256)
            if Path(name).suffix.lower() in self._cache.on_demand and os.name == "posix":
                self._place.may_be_emptied(name)
        if is_new:
            self._write_manifest()
        else:
            self._record.save(self._place.home)
        if os.name == "posix":
            make_room(self._place)

    def _send_one(self, file: tuple[str, Path, int]) -> tuple[str, Listed, Copied]:
        """Upload a file, unless the URL has its content."""
        name, snapshot, stamp = file
        with snapshot.open("rb") as content:
            sha256 = file_digest(content, "sha256").hexdigest()
        size, known = snapshot.stat().st_size, self._manifest.files.get(name)
        if known is not None and (known.size, known.sha256) == (size, sha256):
            return name, known, Copied(known.identity, size, stamp)
        self._store.put(snapshot, name)
        entry = self._store.entry(name)
        if entry.size != size:
            raise UpstreamError(f"{self._store.url}/{name} has {entry.size} bytes after an upload of {size}")
        return name, Listed(size, sha256, entry.identity), Copied(entry.identity, size, stamp)

    def _forget(self, names: list[str]) -> None:
        """Take files off the list, and then delete them."""
        if not names:
            return
        for name in names:
            self._manifest.files.pop(name, None)
            self._record.files.pop(name, None)
        self._write_manifest()
        self._store.delete(names)

    def _write_manifest(self) -> None:
        self._lock.check()
        self._manifest = Manifest(uuid.uuid4().hex, self._manifest.files)
        self._store.write(self._manifest_name, self._manifest.content())
        self._record.generation = self._manifest.generation
        self._record.save(self._place.home)
