"""Lists with a JSON document a line, plain or gzipped, read one line at a time; what is wrong with one is said in a few words."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from sca.errors import InputError

__all__ = ["complaint", "lines_in"]


def lines_in(path: Path, hint: str) -> Iterator[tuple[int, bytes]]:
    """Every line that is not empty, with its number from 1. Raises `InputError` with `hint` when the file cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", hint=hint) from error


def complaint(error: ValidationError) -> str:
    """The first thing that pydantic found, with where it is."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(piece) for piece in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg'][:1].lower()}{first['msg'][1:]}"
