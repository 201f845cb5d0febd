"""Fetch a model of the catalogue into the cache folder.

The archives of a model are unpacked one after another into a hidden folder; those that are complete are kept when a
download is interrupted. Then the files are joined, checked against their SHA-256, and appear together by one rename.
"""

import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO

from sca.errors import InputError, UsageError, writing
from sca.models.catalog import Model, ModelFile
from sca.models.packages import fetch_members
from sca.models.store import damaged_files, folder_of, is_present, lock_of

__all__ = ["STALL_S", "Progress", "fetch", "here"]

STALL_S = 60.0
"""Seconds without data after which a download fails."""

Progress = Callable[[int], None]
"""Receives the bytes of a model that are done, of `Model.download_bytes`."""

_BLOCK_BYTES = 1 << 20


def fetch(
    model: Model,
    cache_dir: Path,
    *,
    stall_s: float = STALL_S,
    progress: Progress = lambda done: None,
    waiting: Callable[[], None] = lambda: None,
) -> bool:
    """Fetch a model, unless all its files are there with their SHA-256. Of two processes, one fetches and the other waits.

    Args:
        model: The model.
        cache_dir: The cache folder.
        stall_s: The download fails if nothing arrives for so many seconds.
        progress: Receives the progress.
        waiting: Called if another process is fetching the model.

    Returns:
        Whether it was fetched; False if it was there.

    Raises:
        UsageError: It does not work on this platform.
        MissingToolError: No program that downloads is installed.
        UpstreamError: An index does not provide it.
        InputError: An archive or a file has another SHA-256.
        OutputError: The cache folder cannot be written.
    """
    from filelock import Timeout

    _check_platform(model)
    folder = folder_of(model, cache_dir)
    with writing(folder), ExitStack() as stack:
        lock = lock_of(model, cache_dir)
        try:
            stack.enter_context(lock.acquire(timeout=0))
        except Timeout:
            waiting()
            stack.enter_context(lock.acquire())
        if is_present(model, folder) and not damaged_files(model, folder):
            return False
        parts = folder.with_name(f".{folder.name}.part")
        try:
            _fetch_archives(model, parts, stall_s, progress)
        finally:
            with suppress(OSError):
                parts.rmdir()  # if it is empty: no archive was complete
        try:
            _join(model, parts)
            shutil.rmtree(folder, ignore_errors=True)  # an incomplete or damaged one
            (parts / "model").replace(folder)
        except InputError:
            shutil.rmtree(parts)  # the archives do not match the catalogue
            raise
        finally:
            shutil.rmtree(parts / "model", ignore_errors=True)
        shutil.rmtree(parts)
    return True


def here() -> str:
    """Return the platform, such as `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine().lower()}"


def _check_platform(model: Model) -> None:
    if model.platform not in (None, here()):
        raise UsageError(f"the model {model.name} works on {model.platform} only, and this is {here()}")


def _fetch_archives(model: Model, parts: Path, stall_s: float, progress: Progress) -> None:
    before = 0
    for archive in model.archives:
        unpacked = parts / archive.name
        if not unpacked.is_dir():
            temporary = parts / "fetching"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            listener = partial(_report, progress, before, archive.size)
            try:
                fetch_members(archive, model.members(archive), temporary, stall_s=stall_s, listener=listener)
                for rest in ("tmp", "out"):
                    shutil.rmtree(temporary / rest)
                temporary.replace(unpacked)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        before += archive.size
        progress(before)


def _report(progress: Progress, before: int, most: int, done: int) -> None:
    # What is on the disk can be more than the archive: its copy, or its unpacked files.
    progress(before + min(done, most))


def _join(model: Model, parts: Path) -> None:
    """Write the files of a model and its ORIGIN.txt to the folder `model`."""
    target = parts / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in model.files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            _join_file(model, file, parts, out)
            out.flush()
            os.fsync(out.fileno())
    (target / "ORIGIN.txt").write_text(_origin(model), encoding="utf-8")


def _join_file(model: Model, file: ModelFile, parts: Path, out: IO[bytes]) -> None:
    digest = sha256()
    for source in file.sources:
        archive, member, *inner = source.split(":")
        with ExitStack() as stack:
            opened: IO[bytes] = stack.enter_context((parts / archive / member).open("rb"))
            try:
                for name in inner:
                    opened = stack.enter_context(stack.enter_context(zipfile.ZipFile(opened)).open(name))
            except (zipfile.BadZipFile, KeyError) as error:
                raise InputError(f"{model.name}: {source} cannot be unpacked: {error}") from error
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
                out.write(block)
    if digest.hexdigest() != file.sha256:
        raise InputError(
            f"{file.path} of {model.name} is not the file that sca knows: its SHA-256 differs",
            hint="run the command again; nothing was kept",
        )


def _origin(model: Model) -> str:
    packages = "".join(
        f"  {archive.index}: {archive.requirement} sha256 {archive.sha256}\n" for archive in model.archives
    )
    files = "".join(f"  {file.path} sha256 {file.sha256}\n" for file in model.files)
    hub = f"hub: {model.hub}\n" if model.hub else ""
    return (
        f"{model.name}: {model.title}\nlicence: {model.licence}\norigin: {model.origin}\n{hub}"
        f"packages (uploads of third parties, from which only these files were taken):\n{packages}files:\n{files}"
    )
