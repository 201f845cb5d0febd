"""lhotse's Shar: archives of recordings beside lists of cuts. lhotse reads them, one cut at a time.

cuts.000000.jsonl.gz  recording.000000.tar  target_audio.000000.tar
"""

import json
import tarfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from sca.data.corpora.packed.recordings import RecordingFiles
from sca.distribution import install_packages
from sca.errors import InputError, MissingToolError

__all__ = ["shar_cuts", "shar_folders"]


def shar_folders(source: Path) -> list[Path]:
    """Return the folders of Shar archives in a folder and below."""
    if not source.is_dir():
        return []
    return sorted(
        {path.parent for path in source.rglob("cuts.*.jsonl.gz")} | {p.parent for p in source.rglob("cuts.*.jsonl")}
    )


def shar_cuts(source: Path, files: RecordingFiles) -> Iterator[tuple[int, bytes]]:
    """Read the cuts of all Shar archives in a folder as lines of JSON, numbered from 1, with recordings that are files.

    Raises:
        MissingToolError: lhotse is not installed.
        InputError: lhotse cannot read an archive.
    """
    try:
        cut_set = import_module("lhotse").CutSet
    except ImportError as error:
        raise MissingToolError(
            f"{source} is a lhotse Shar, and lhotse, which reads it, is not installed",
            hint=f"install it with: {install_packages('lhotse')}",
        ) from error
    number = 0
    for folder in shar_folders(source):
        try:
            for cut in cut_set.from_shar(in_dir=str(folder)):
                number += 1
                document = _with_files(cut.to_dict(), files, f"{number:06d}")
                yield number, json.dumps(document, default=str).encode()
        except (OSError, ValueError, KeyError, AssertionError, EOFError, MemoryError, tarfile.TarError) as error:
            raise InputError(f"lhotse cannot read the Shar {folder} ({error})") from error


def _with_files(document: Any, files: RecordingFiles, name: str) -> Any:
    """Return a document with files in place of recordings in memory; `name` is that of the place in the document."""
    match document:
        case {"type": "memory", "source": bytes(content)}:
            return {**document, "type": "file", "source": str(files.file_of(name, content).absolute())}
        case dict():
            return {key: _with_files(value, files, _place(name, key)) for key, value in document.items()}
        case list():
            return [_with_files(value, files, name) for value in document]
    return document


def _place(name: str, key: str) -> str:
    return name if key in ("custom", "sources", "tracks", "cut") else f"{name}.{key}"
