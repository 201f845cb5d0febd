"""Fetched models on this machine: the folder of each one in the cache, its state and its identity."""

import re
import shutil
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import load_settings
from sca.errors import MissingToolError, writing
from sca.models.catalog import Model, find

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["damaged_files", "folder_of", "identity", "is_present", "lock_of", "remove", "resolve"]

_DIGEST_LETTERS = 12


def folder_of(model: Model, cache_dir: Path) -> Path:
    """Return where a model is in the cache folder. The name has the digest, so another version is another folder."""
    return cache_dir / "models" / f"{model.name}-{model.digest[:_DIGEST_LETTERS]}"


def resolve(reference: str, cache_dir: Path | None = None) -> Path | None:
    """Return the folder of the model that a reference names.

    Only the sizes of the files are compared, not their content, because this runs before each use.

    Args:
        reference: `NAME` or `pkg:NAME` of a model in the catalogue, or anything else.
        cache_dir: The cache folder; by default the one of the settings.

    Returns:
        The folder; None if the reference is not a model of the catalogue, but a path, a hub id or another word.

    Raises:
        UsageError: `pkg:NAME` names no model.
        MissingToolError: The model is not on this machine, or incomplete.
    """
    model = find(reference)
    if model is None:
        return None
    folder = folder_of(model, _cache_dir() if cache_dir is None else cache_dir)
    if not is_present(model, folder):
        raise MissingToolError(
            f"the model {model.name} is not on this machine",
            hint=f"sca models get {model.name} fetches it ({model.download_bytes / 1e6:.0f} MB)",
        )
    return folder


def _cache_dir() -> Path:
    return load_settings().paths.resolved_cache_dir


def identity(reference: str) -> str | None:
    """Return the name and the hash of the model that a reference names; None if it is not in the catalogue."""
    model = find(reference)
    return None if model is None else f"{model.name}@sha256:{model.digest}"


def is_present(model: Model, folder: Path) -> bool:
    """Return whether all files of a model are there with their sizes."""
    return all(
        path.is_file() and path.stat().st_size == file.size
        for file, path in ((f, folder / f.path) for f in model.files)
    )


def damaged_files(model: Model, folder: Path) -> list[str]:
    """Return what is wrong with the files of a fetched model: one line per file that is missing or has another hash."""
    return list(_damaged(model, folder))


def _damaged(model: Model, folder: Path) -> Iterator[str]:
    for file in model.files:
        try:
            with (folder / file.path).open("rb") as opened:
                found = file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            yield f"{file.path}: {error.strerror or error}"
            continue
        if found != file.sha256:
            yield f"{file.path}: the SHA-256 is {found[:12]}…, not {file.sha256[:12]}…"


def remove(model: Model, cache_dir: Path) -> list[Path]:
    """Delete all versions of a model and what an interrupted download left; return the deleted folders."""
    root = cache_dir / "models"
    version = re.compile(rf"\.?{re.escape(model.name)}-[0-9a-f]{{{_DIGEST_LETTERS}}}(\.part)?")
    with writing(root):
        if not root.is_dir():
            return []
        with lock_of(model, cache_dir):
            found = [path for path in sorted(root.iterdir()) if version.fullmatch(path.name)]
            for path in found:
                shutil.rmtree(path)
    return found


def lock_of(model: Model, cache_dir: Path) -> "FileLock":
    """Return the lock that guards changes of a model's folder; creates the folder of the models."""
    from filelock import FileLock

    root = cache_dir / "models"
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{model.name}.lock")
