"""Where the parts of a show data set lie, and under which names."""

from hashlib import blake2b
from pathlib import Path

__all__ = ["file_stem", "paths_of"]

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def file_stem(name: str) -> str:
    """A file name for a show's id: itself where that is safe everywhere, else made readable with a hash behind it."""
    if name and len(name) <= 100 and set(name) <= _SAFE:
        return name
    readable = "".join(letter if letter in _SAFE else "_" for letter in name)[:60]
    # No dot: the stem of the file has to be this again.
    return f"{readable}-{blake2b(name.encode(), digest_size=6).hexdigest()}"


def paths_of(root: Path, name: str) -> tuple[Path, Path]:
    """A show's file of sound, and the record that says what it was made of."""
    stem = file_stem(name)
    return root / "storage" / f"{stem}.arrow", root / ".sca" / "shows" / f"{stem}.json"
