"""Files with one JSON document per line, plain or gzipped, read one line at a time."""

import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from sca.errors import InputError
from sca.files.bounded import MAX_LINE_BYTES, MAX_UNPACKED_BYTES, bounded_lines, too_large

__all__ = ["first_objects", "lines_in", "validation_message"]

_DETECTION_LINES = 20


def lines_in(path: Path, hint: str | None = None) -> Iterator[tuple[int, bytes]]:
    """Read every line that is not empty, with its number from 1.

    Args:
        path: The file; gzipped if its name ends in `.gz`.
        hint: The hint of the error.

    Raises:
        InputError: The file cannot be read.
        TooLargeError: A line, or all of them, are too long.
    """
    unpacked = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in bounded_lines(file):
                if line is None or (unpacked := unpacked + len(line)) > MAX_UNPACKED_BYTES:
                    too_long = line is None
                    raise too_large(
                        f"line {number} of {path}" if too_long else f"{path}, unpacked,",
                        MAX_LINE_BYTES if too_long else MAX_UNPACKED_BYTES,
                    )
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", hint=hint) from error


def first_objects(path: Path) -> Iterator[dict[str, object]]:
    """Read the JSON objects among the first lines of a file, to detect its layout; nothing for a folder.

    Raises:
        InputError: The file cannot be read.
    """
    if path.is_dir():
        return
    for _, line in islice(lines_in(path), _DETECTION_LINES):
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document


def validation_message(error: ValidationError) -> str:
    """Return the first problem of a validation error, with its place in the document."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(piece) for piece in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg'][:1].lower()}{first['msg'][1:]}"
