"""Text that other programs wrote, read within bounds: a file that is larger is refused before it fills the memory."""

from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from sca.errors import TooLargeError

__all__ = [
    "MAX_LINE_BYTES",
    "MAX_MEMBER_BYTES",
    "MAX_TEXT_BYTES",
    "MAX_UNPACKED_BYTES",
    "bounded_lines",
    "check_size",
    "read_stream",
    "read_whole",
    "too_large",
]

MAX_LINE_BYTES = 64 << 20
"""The longest line of a list or a transcript. The line of a show of 20 hours with all its words has 15 MB."""
MAX_TEXT_BYTES = 128 << 20
"""The largest file that is read as a whole: a transcript, a table, a JSON document."""
MAX_UNPACKED_BYTES = 8 << 30
"""The most that a compressed list may unpack to. It is read line by line."""
MAX_MEMBER_BYTES = 1 << 30
"""The largest file in an archive that is read into memory: a recording, a row."""

_BLOCK_BYTES = 1 << 20


def read_whole(path: Path, most: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of a file or a pipe of at most `most` bytes.

    Raises:
        OSError: It cannot be read.
        TooLargeError: It has more bytes.
    """
    with path.open("rb") as file:
        return read_stream(file, str(path), most)


def read_stream(file: IO[bytes], name: str, most: int = MAX_TEXT_BYTES) -> bytes:
    """Do as `read_whole` with an open file, which messages call `name`."""
    pieces, left = [], most
    while piece := file.read(min(left + 1, _BLOCK_BYTES)):  # `read(most)` would reserve as much for a small file
        left -= len(piece)
        if left < 0:
            raise too_large(name, most)
        pieces.append(piece)
    return b"".join(pieces)


def check_size(path: Path, most: int = MAX_TEXT_BYTES) -> None:
    """Check a file that a library reads as a whole.

    Raises:
        OSError: It does not exist.
        TooLargeError: It has more than `most` bytes.
    """
    if path.stat().st_size > most:
        raise too_large(str(path), most)


def too_large(name: str, most: int) -> TooLargeError:
    """Return the error about a thing that has more bytes than `most`."""
    return TooLargeError(f"{name} has more than {most >> 20} MiB, the most that is read", hint="divide it")


def bounded_lines(
    file: "IO[bytes] | BufferedIOBase", longest: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of a file with their numbers from 1; None for a line that is longer, which is read past."""
    number, is_rest = 0, False
    for piece in iter(partial(file.readline, longest + 1), b""):
        is_long = len(piece) > longest
        if not is_rest:
            number += 1
            yield number, None if is_long else piece
        is_rest = (is_rest or is_long) and not piece.endswith(b"\n")
