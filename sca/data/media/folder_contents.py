"""A summary of the files in a folder, for messages about folders that cannot be read."""

from collections import Counter
from itertools import islice
from pathlib import Path

from sca.textutil import counted

__all__ = ["describe_files", "suffixes_in"]

_MAX_FILES = 10_000
_MAX_KINDS = 5


def suffixes_in(folder: Path) -> Counter[str]:
    """Count the files in a folder and its subfolders by suffix, in lower case; hidden files are left out."""
    paths = islice(folder.rglob("*"), _MAX_FILES)
    visible = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return Counter(path.suffix.lower() for path in visible if path.is_file())


def describe_files(suffixes: Counter[str]) -> str:
    """Return the most frequent kinds of files as `2 .wav files, 1 .eaf file`, or `no files`."""
    most = sorted(suffixes, key=lambda suffix: (-suffixes[suffix], suffix))
    kinds = [counted(suffixes[suffix], f"{suffix or 'other'} file") for suffix in most[:_MAX_KINDS]]
    return ", ".join([*kinds, "…"] if len(most) > _MAX_KINDS else kinds) or "no files"
