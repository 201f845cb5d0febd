"""Fetched models on this machine: the folder of each one in the cache, its state and its identity."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.config import load_settings
from sca.errors import MissingToolError, writing
from sca.files.locks import locked
from sca.models.catalog import Model, Source, find

__all__ = [
    "ORIGIN",
    "Installed",
    "Origin",
    "damaged_files",
    "folder_of",
    "identity",
    "installed",
    "is_present",
    "lock_of",
    "remove",
    "resolve",
]

ORIGIN = "origin.json"
"""The file in the folder of a model that records where it came from."""

_DIGEST_LETTERS = 12


class Origin(BaseModel):
    """Where the files of a fetched model came from.

    Attributes:
        source: `hub` or `package`.
        repository: The repository on the hub.
        revision: Its commit.
        documents: The SHA-256 of texts that the catalogue has no hash of, by their path, as they arrived.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    repository: str | None = None
    revision: str | None = None
    documents: Mapping[str, str] = Field(default_factory=dict)

    @property
    def line(self) -> str:
        """The source in one line."""
        return f"hub {self.repository}@{(self.revision or '')[:12]}" if self.source == "hub" else self.source


@dataclass(frozen=True, slots=True)
class Installed:
    """A model on this machine.

    Attributes:
        content: The model with the files of the source that it was fetched from.
        folder: Where it is.
        origin: Where it came from.
    """

    content: Model
    folder: Path
    origin: Origin

    def damage(self) -> list[str]:
        """Return what is wrong with the files: one line per file that is missing or has another hash."""
        known = [(file.path, file.sha256) for file in self.content.files]
        return list(_damaged([*known, *self.origin.documents.items()], self.folder))


def installed(model: Model, cache_dir: Path, *, complete: bool = True) -> Installed | None:
    """Return a model as it is in the cache folder; None if it is not there.

    Args:
        model: The model.
        cache_dir: The cache folder.
        complete: Whether all files have to be there with their sizes.
    """
    for source, content in model.contents().items():
        folder = folder_of(content, cache_dir)
        if is_present(content, folder) or (folder.is_dir() and not complete):
            # Earlier versions wrote no record, and fetched packages only.
            origin = _origin(folder, "package" if content.digest == model.digest else source)
            return Installed(content, folder, origin)
    return None


def _origin(folder: Path, source: Source) -> Origin:
    """Read the record of a folder; without one, the source is as given."""
    try:
        return Origin.model_validate_json((folder / ORIGIN).read_bytes())
    except (OSError, ValidationError):
        return Origin(source=source)


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
    found = installed(model, _cache_dir() if cache_dir is None else cache_dir)
    if found is None:
        raise MissingToolError(
            f"the model {model.name} is not on this machine",
            hint=f"sca models get {model.name} fetches it ({model.download_bytes / 1e6:.0f} MB)",
        )
    return found.folder


def _cache_dir() -> Path:
    return load_settings().paths.resolved_cache_dir


def identity(reference: str) -> str | None:
    """Return the name and the hash of the model that a reference names; None if it is not in the catalogue.

    The hub and the packages may have different files. The hash is that of the files on this machine, or of the packages if
    the model is not here.
    """
    model = find(reference)
    if model is None:
        return None
    found = installed(model, _cache_dir())
    return f"{model.name}@sha256:{(found.content if found else model).digest}"


def is_present(model: Model, folder: Path) -> bool:
    """Return whether all files of a model are there with their sizes."""
    return all(
        path.is_file() and path.stat().st_size == file.size
        for file, path in ((f, folder / f.path) for f in model.files)
    )


def damaged_files(model: Model, folder: Path) -> list[str]:
    """Return what is wrong with the files of a fetched model: one line per file that is missing or has another hash."""
    return list(_damaged([(file.path, file.sha256) for file in model.files], folder))


def _damaged(hashes: Iterable[tuple[str, str]], folder: Path) -> Iterator[str]:
    for path, sha256 in hashes:
        try:
            with (folder / path).open("rb") as opened:
                found = file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            yield f"{path}: {error.strerror or error}"
            continue
        if found != sha256:
            yield f"{path}: the SHA-256 is {found[:12]}…, not {sha256[:12]}…"


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


def lock_of(
    model: Model, cache_dir: Path, on_wait: Callable[[], object] = lambda: None
) -> AbstractContextManager[None]:
    """Return the lock that guards changes of a model's folder; creates the folder of the models.

    Args:
        model: The model.
        cache_dir: The cache folder.
        on_wait: Called before this process waits for another one.
    """
    root = cache_dir / "models"
    root.mkdir(parents=True, exist_ok=True)
    return locked(root / f".{model.name}.lock", on_wait=on_wait)
