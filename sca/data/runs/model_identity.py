"""The identity of a model, so that work is done again if and only if the weights differ."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from sca.errors import InputError
from sca.models import identity

__all__ = ["model_identity"]

_SAMPLED_ABOVE_BYTES = 64 << 20
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 20


def model_identity(name: str) -> str:
    """Return a hash of a model's files, wherever they are; for a hub id or a keyword, the name itself.

    For a model of the catalogue (`sca.models`), it is the name with the hash that the catalogue has.

    Of a file over 64 MiB, the length and 16 blocks of 1 MiB are hashed, spread evenly from the first to the last byte:
    training changes weights everywhere, and reading gigabytes at every start would be slow.

    Args:
        name: A file, a folder, a hub id or a keyword.

    Raises:
        InputError: A file cannot be read.
        UsageError: It is `pkg:NAME`, and the catalogue has no such model.
    """
    catalogued = identity(name)
    if catalogued is not None:
        return catalogued
    path = Path(name).expanduser()
    if not path.exists():
        return name
    digest = sha256()
    try:
        for file in _files(path):
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
            for block in _blocks(file):
                digest.update(block)
    except OSError as error:
        raise InputError(f"the model {name} cannot be read: {error.strerror or error}") from error
    return f"sha256:{digest.hexdigest()}"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _blocks(file: Path) -> Iterator[bytes]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= _SAMPLED_ABOVE_BYTES:
            yield opened.read()
            return
        for n in range(_SAMPLES):
            opened.seek((size - _SAMPLE_BYTES) * n // (_SAMPLES - 1))
            yield opened.read(_SAMPLE_BYTES)
