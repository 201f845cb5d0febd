"""Files that appear whole or not at all."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

from sca.errors import InputError, OutputError, check_target, writing

__all__ = [
    "append_line",
    "atomic_write",
    "ensure_owned_dir",
    "read_json",
    "sha256_of",
    "write_json",
    "write_json_lines",
]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; it takes the name `path`, whole and synced, when the block ends without an error.

    Raises `OutputError` for what no file can take the place of, see `check_target`.
    """
    check_target(path)
    # Cut to what a file name may hold; the same in every run, so that what a killed run leaves is written over by the next.
    stem = path.name.encode()[:240].decode(errors="ignore")
    temporary = path.with_name(f".{stem}.tmp")
    with writing(path):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def ensure_owned_dir(folder: Path, claim: Path, made_by: str) -> None:
    """Raise `OutputError` for a folder that has files in it and no `claim`, the file that `made_by` writes first."""
    with writing(folder):
        if not folder.exists() or (folder / claim).exists():
            return
        if any(entry.name not in (".lock", claim.parts[0]) for entry in folder.iterdir()):
            raise OutputError(
                f"{folder} has other files in it", hint=f"give an empty folder, or one that {made_by} made"
            )


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document, whole or not at all."""
    with atomic_write(path) as temporary:
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


def write_json_lines(path: Path, documents: Iterable[Any]) -> None:
    """Write one JSON document a line, whole or not at all; compressed where the name ends in .gz, the same bytes every time."""
    with atomic_write(path) as temporary, temporary.open("wb") as plain:
        # No name and no time inside: gzip's header would else differ from run to run.
        out = gzip.GzipFile("", "wb", fileobj=plain, mtime=0) if path.suffix == ".gz" else None
        with out or nullcontext(plain) as file:
            for document in documents:
                file.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read one JSON document. Raises `InputError` that names the file when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from error
