"""Which model a name stands for, so that work is done again when other weights lie under the same path, and only then."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from sca.errors import InputError

__all__ = ["model_identity"]

_WHOLE_BYTES = 64 << 20
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 20


def model_identity(name: str) -> str:
    """The name itself for a hub id or a keyword; for a file or folder here, a hash of what is in it, wherever it lies.

    Files over 64 MiB are known by their length and 16 blocks of 1 MiB spread over them, first and last included: weights that were
    trained on differ everywhere, and gigabytes are not read through at every start. Raises `InputError` for what cannot be read.
    """
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
    return sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _blocks(file: Path) -> Iterator[bytes]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= _WHOLE_BYTES:
            yield opened.read()
            return
        for n in range(_SAMPLES):
            opened.seek((size - _SAMPLE_BYTES) * n // (_SAMPLES - 1))
            yield opened.read(_SAMPLE_BYTES)
