"""The files of a show data set."""

from hashlib import blake2b
from pathlib import Path

__all__ = ["SETTINGS_FILE", "TRAIN_FILE", "record_file", "show_file_stem", "storage_file"]

SETTINGS_FILE = "settings.json"
TRAIN_FILE = "data-00000-of-00001.arrow"

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_MAX_LENGTH = 100


def show_file_stem(show_id: str) -> str:
    """Return a file name without suffix: the id of the show if it is safe, else a readable part of it and a hash."""
    if show_id and len(show_id) <= _MAX_LENGTH and set(show_id) <= _SAFE:
        return show_id
    readable = "".join(letter if letter in _SAFE else "_" for letter in show_id)[:60]
    # Without a dot, so that the stem of the file is the whole name.
    return f"{readable}-{blake2b(show_id.encode(), digest_size=6).hexdigest()}"


def storage_file(root: Path, show_id: str) -> Path:
    """Return the Arrow file with the audio of a show."""
    return root / "storage" / f"{show_file_stem(show_id)}.arrow"


def record_file(root: Path, show_id: str) -> Path:
    """Return the file with the `ShowRecord` of a show."""
    return root / ".sca" / "shows" / f"{show_file_stem(show_id)}.json"
