"""States of a disk after a power cut, as in ALICE (Pillai et al., OSDI 2014) and CrashMonkey (Mohan et al., OSDI 2018).

At every step of a run three images of the folder are taken, with different parts of what was never synced lost:

    data      all names as they are, but the content of a file is what it was when the file was last synced
    names     names as they were when any file was last synced (file systems with one journal, such as ext4)
    folders   the names in each folder as they were when the folder was last synced; a file that was synced has the name
              that it had then. This is all that POSIX promises.
"""

import os
import pickle
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from scripts.faults.steps import Step
from scripts.faults.trees import Tree

__all__ = ["LOSSES", "PowerCuts"]

LOSSES = ("data", "names", "folders")


class _File:
    """A file that may have several names; `synced` is its content on the disk."""

    def __init__(self, synced: bytes = b"") -> None:
        self.synced = synced


Names = dict[str, "_File | str | None"]


class PowerCuts:
    """A fault that does nothing but take the images."""

    def __init__(self, root: Path, store: Path, skip: frozenset[str]) -> None:
        """Begin. What is in the folder now is on the disk.

        Args:
            root: The folder.
            store: The folder to write the images to, pickled trees named by their hash.
            skip: Names directly below `root` that are no part of the images.
        """
        self._root, self._store, self._skip = root, store, skip
        self._files: dict[int, _File] = {}
        self._now: Names = {}
        self._scan()
        for name, file in self._now.items():
            if isinstance(file, _File):
                file.synced = (root / name).read_bytes()
        self._committed = dict(self._now)
        self._folders = dict(self._now)
        self._sync_of: Callable[[], None] | None = None
        self.images: dict[str, list[tuple[int, str]]] = {}

    def __call__(self, step: Step, half: Callable[[], None]) -> None:
        """Take the images of the moment before a step."""
        if not step.changes:
            return
        self._finish_sync()
        self._scan()
        self.take(step.number)
        if step.kind == "sync":
            self._sync_of = lambda: self._synced(step.path)

    def take(self, number: int) -> None:
        """Take the images of this moment."""
        for loss, names in zip(LOSSES, (self._now, self._committed, self._folders), strict=True):
            image = _image(names)
            data = pickle.dumps(sorted(image.items()))
            key = sha256(data).hexdigest()[:24]
            if key not in self.images:
                (self._store / key).write_bytes(data)
            self.images.setdefault(key, []).append((number, loss))

    def end(self) -> dict[str, list[tuple[int, str]]]:
        """Take the images of the moment after the last step; return the steps of each image."""
        self._finish_sync()
        self._scan()
        self.take(-1)
        return self.images

    def _finish_sync(self) -> None:
        # A sync has happened when the next step begins.
        if self._sync_of is not None:
            self._sync_of()
            self._sync_of = None

    def _synced(self, path: str) -> None:
        self._scan()
        full = self._root / path
        if full.is_dir():
            self._folders = {n: f for n, f in self._folders.items() if os.path.dirname(n) != path}  # noqa: PTH120
            self._folders |= {n: f for n, f in self._now.items() if os.path.dirname(n) == path}  # noqa: PTH120
            self._committed = dict(self._now)
            return
        file = self._now.get(path)
        if not isinstance(file, _File):
            return
        file.synced = full.read_bytes()
        self._committed = dict(self._now)
        for name in [n for n, f in self._folders.items() if f is file and n != path]:
            self._folders.pop(name)
        for parent in Path(path).parents:
            if parent.name:
                self._folders.setdefault(str(parent), None)
        self._folders[path] = file

    def _scan(self) -> None:
        names: Names = {}
        live: dict[int, _File] = {}
        stack = [""]
        while stack:
            below = stack.pop()
            for entry in os.scandir(self._root / below if below else self._root):
                name = f"{below}/{entry.name}" if below else entry.name
                if name in self._skip:
                    continue
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    names[name] = os.readlink(entry.path)  # noqa: PTH115 - for speed
                elif stat.S_ISDIR(found.st_mode):
                    names[name] = None
                    stack.append(name)
                elif stat.S_ISREG(found.st_mode):
                    file = self._files.get(found.st_ino) or _File()
                    live[found.st_ino] = file
                    names[name] = file
        self._files, self._now = live, names


def _image(names: Names) -> Tree:
    return {name: found.synced if isinstance(found, _File) else found for name, found in names.items()}
