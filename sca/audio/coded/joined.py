"""Find the parts of a file that holds several streams, joined byte by byte.

The headers of joined files describe the first part only: libsndfile reads that part and reports no error. Inserted
advertisements, recorders that start again, and `cat a.ogg b.ogg` make such files.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["Span", "joined_spans"]

Span = tuple[int, int]
"""The first byte of a part of a file, and the byte after its last one."""

_SCAN_BYTES = 1 << 20
_FLAC = b"fLaC"
_STREAMINFO = (b"\0\0\0\x22", b"\x80\0\0\x22")
"""The header of the first block after the marker: 34 bytes, more blocks follow or not (RFC 9639, section 8.1)."""
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_OGG_PAGE_BYTES = 27
_OGG_BEGINS = 2  # bit of the flags: first page of a logical stream (RFC 3533)


def joined_spans(path: Path) -> list[Span]:
    """Return the parts of chained Ogg, joined FLAC or Matroska; an empty list if there is only one.

    Other formats state no length that ends the reading, so their parts are found while they are read.

    Args:
        path: A regular file.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(4)
        find = {b"OggS": _chained, b"fLaC": _later_flac, _EBML: _later_matroska}.get(head)
        starts = [] if find is None else list(find(file, size))
    return list(zip([0, *starts], [*starts, size], strict=True)) if starts else []


def _chained(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield where a logical stream of an Ogg file begins after the data of another one."""
    position, has_data = 0, False
    while position + _OGG_PAGE_BYTES <= size:
        file.seek(position)
        page = file.read(_OGG_PAGE_BYTES)
        if page[:4] != b"OggS":
            return  # damaged: the decoder reports it
        begins = bool(page[5] & _OGG_BEGINS)
        if begins and has_data:
            yield position
        has_data = not begins
        lengths = file.read(page[26])
        position += _OGG_PAGE_BYTES + len(lengths) + sum(lengths)


def _later_flac(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield where FLAC streams begin after the first one."""
    start, seam = file.tell(), b""  # after the first marker
    while block := file.read(_SCAN_BYTES):
        at = block.find(_FLAC)
        while at >= 0:
            if _is_start(file, start + at):
                yield start + at
            at = block.find(_FLAC, at + 1)
        if (across := (seam + block[:3]).find(_FLAC)) >= 0 and _is_start(file, start - len(seam) + across):
            yield start - len(seam) + across
        start, seam = start + len(block), block[-3:]
        file.seek(start)


def _is_start(file: BinaryIO, position: int) -> bool:
    """Return whether a stream begins with the marker at this position. Moves the position of `file`."""
    file.seek(position + len(_FLAC))
    return file.read(4) in _STREAMINFO


def _later_matroska(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield where Matroska files begin after the first one, if the segments before them state their size."""
    while (header_bytes := _ebml_size(file)) is not None and header_bytes < size:
        file.seek(header_bytes, 1)
        if file.read(4) != _SEGMENT:
            return
        segment_bytes = _ebml_size(file)
        if segment_bytes is None or file.tell() + segment_bytes >= size:
            return
        start = file.tell() + segment_bytes
        file.seek(start)
        if file.read(4) != _EBML:
            return
        yield start


def _ebml_size(file: BinaryIO) -> int | None:
    """Read a size of EBML (RFC 8794, section 4); None if it is unknown or damaged."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value
