"""Which files of a folder are the download of a video, and one download at a time of each video."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from sca.data.acquire.media_file import archive_key, info_path
from sca.data.runs.files import read_json, sha256_of
from sca.errors import InputError

__all__ = ["OwnFile", "VideoLocks"]


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A place for the download of a video.

    Attributes:
        path: The media file.
        key: The line of the video in the archive.
    """

    path: Path
    key: str

    def is_complete(self) -> bool:
        """Return whether the file is there and its metadata say that it is this video's, with this content."""
        facts = self._facts()
        if facts is None or facts.get("file") != self.path.name or not self.path.is_file():
            return False
        return facts.get("sha256") == sha256_of(self.path)

    def stranger(self) -> Path | None:
        """Return the file at this place, or at the place of its metadata, that is not this video's."""
        info = info_path(self.path)
        if info.is_symlink() or (info.exists() and self._facts() is None):
            return info
        if self.path.is_symlink() or (self.path.exists() and not self.is_complete()):
            return self.path
        return None

    def remove_copies(self, folder: Path, name: str) -> None:
        """Remove what a power cut left in the folder of partial files if it undid the rename of this complete file.

        Args:
            folder: The folder of partial files.
            name: The name of the video's partial files, up to the first dot that follows it.
        """
        size = self.path.stat().st_size
        for path in sorted(folder.glob(f"{escape(name)}.*")):
            if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
                continue
            if sha256_of(path) == sha256_of(self.path):
                path.unlink()

    def _facts(self) -> dict[str, object] | None:
        """Return what sca recorded about the video's file; None if the metadata are missing or are another video's."""
        try:
            info = read_json(info_path(self.path))
            facts = dict(info["sca"])
            own = archive_key(info) == self.key
        except (InputError, KeyError, TypeError, ValueError, AttributeError):
            return None
        return facts if own else None


class VideoLocks:
    """One lock per video: two addresses of one video are downloaded one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, threading.Lock] = {}

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold the lock of the video with this key."""
        with self._lock:
            lock = self._held.setdefault(key, threading.Lock())
        with lock:
            yield
