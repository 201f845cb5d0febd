"""Files that appear whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sca.errors import writing

__all__ = ["append_line", "published", "write_json"]


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; it takes the name `path`, whole and synced, when the block ends without an error."""
    # Cut to what a file name may hold; the same in every run, so that what a killed run leaves is written over by the next.
    stem = path.name.encode()[:240].decode(errors="ignore")
    temporary = path.with_name(f".{stem}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document, whole or not at all."""
    with published(path) as temporary:
        temporary.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def append_line(path: Path, line: bytes) -> None:
    """Add one line, whole and synced; what a crash left of an earlier one is cut off first. `line` ends in a newline."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _cut_torn_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _cut_torn_line(file: BinaryIO) -> None:
    """Take off what a crash left of a line, so that the next one does not continue it."""
    end = file.seek(0, os.SEEK_END)
    at = end
    while at > 0:
        step = min(at, 4096)
        file.seek(at - step)
        newline = file.read(step).rfind(b"\n")
        if newline >= 0:
            at = at - step + newline + 1
            break
        at -= step
    if at < end:
        file.truncate(at)
