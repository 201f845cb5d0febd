"""The file with the weights of a model, wherever the model is on this machine, and its hash."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest
from pathlib import Path

from sca.errors import InputError
from sca.models.catalog import find

__all__ = ["WEIGHT_FILES", "Weights", "weights_of"]

WEIGHT_FILES = ("model.bin", "model.safetensors", "pytorch_model.bin")
"""The names of the files: of CTranslate2, and of transformers."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a model: the SHA-256 and the size of their file."""

    sha256: str
    size: int


def weights_of(model: str, cache_dir: Path) -> Weights | None:
    """Return the weights of a model; None if they are not on this machine.

    Args:
        model: A model of `sca.models`, a folder, a size of faster-whisper or a hub id.
        cache_dir: The cache folder of sca.

    Raises:
        InputError: The file cannot be read.
    """
    known = find(model)
    if known is not None:
        return next((Weights(f.sha256, f.size) for f in known.files if Path(f.path).name in WEIGHT_FILES), None)
    folder = Path(model).expanduser()
    path = _in_folder(folder) if folder.is_dir() else _downloaded(model, cache_dir / "models")
    if path is None:
        return None
    try:
        stat = path.stat()
        return _hashed(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise InputError(f"the model {model} cannot be read: {error.strerror or error}") from error


@cache
def _hashed(path: Path, size: int, changed_ns: int) -> Weights:
    del changed_ns  # part of the key of the cache
    with path.open("rb") as file:
        return Weights(file_digest(file, "sha256").hexdigest(), size)


def _in_folder(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)


def _downloaded(model: str, own_cache: Path) -> Path | None:
    """Return the weights of a hub model that was downloaded before. Nothing is fetched."""
    from faster_whisper.utils import download_model

    for folder in (None, str(own_cache)):
        with suppress(OSError, ValueError):  # of the client of the hub: not there, or no name of a model
            if (path := _in_folder(Path(download_model(model, local_files_only=True, cache_dir=folder)))) is not None:
                return path
    return None
