"""Frames of AAC in ADTS, found by their headers.

FFmpeg's demuxer trusts the length in a header. A frame that is cut off, where recordings were joined or bytes are lost,
then takes the beginning of the next recording with it: a second and more if the frames there are small. The demuxer can
also refuse what follows. Here, a frame counts only if another one, a tag or the end of the file follows it, and if no other
frame begins inside it.

Source of the header: ISO/IEC 14496-3, section 1.A.2.2.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sca.audio.coded.tags import ID3_HEADER_BYTES, TAGS, id3_bytes

__all__ = ["AdtsFrame", "adts_frames", "is_whole_adts"]

_HEADER_BYTES = 7
_FIXED_BYTES = 3
"""These bytes of a header are the same in all frames of a recording."""
_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_BLOCK_SAMPLES = 1024
_BEGINNING = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]|" + b"|".join(TAGS))
"""The syncword with layer 0, or a tag."""
_LONGEST_BEGINNING_BYTES = max(map(len, TAGS))
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AdtsFrame:
    """A frame, or bytes without one.

    Attributes:
        data: The frame with its header; empty for bytes without a frame.
        seconds: The length of its sound. For bytes without a frame, an estimate in whole frames, from the mean size of the
            frames before.
        rest_bytes: The number of these bytes if nothing follows them, otherwise 0: a frame that was cut off when a
            recorder stopped, or padding. This does not count as damage, as in other formats that state no length.
    """

    data: bytes
    seconds: float
    rest_bytes: int = 0


class _Header(NamedTuple):
    size: int
    """The length of the frame in bytes, with the header."""
    seconds: float


def adts_frames(path: Path) -> Iterator[AdtsFrame]:
    """Yield the frames of a file in order, and one item without data for each stretch of bytes without a frame.

    Tags, and bytes before the first frame, are left out.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        content = _Content(file)
        at, frames, frames_bytes, seconds = 0, 0, 0, 0.0
        while at < content.size:
            header = content.header(at)
            end = at if header is None else at + header.size
            follows = _follows(content, at, end)
            lost = follows - at
            if header is not None:
                seconds = header.seconds
                if end <= follows:  # otherwise the frame is cut: the next one begins inside
                    yield AdtsFrame(content.get(at, header.size), seconds)
                    lost, frames, frames_bytes = follows - end, frames + 1, frames_bytes + header.size
            if lost and frames and not content.get(at, _LONGEST_BEGINNING_BYTES).startswith(TAGS):
                count = 1 if follows < end else max(1, round(lost * frames / frames_bytes))
                yield AdtsFrame(b"", count * seconds, lost if follows == content.size else 0)
            at = follows


def is_whole_adts(path: Path) -> bool:
    """Return whether a file consists of whole frames and tags. Raises OSError if it cannot be read."""
    return all(item.data for item in adts_frames(path))


class _Content:
    """The bytes of a file, read in pieces.

    A memory map would end the process if another one shortens the file.

    Attributes:
        size: The length of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start, self._piece = file, 0, b""
        self._header: tuple[int, _Header | None] = (-1, None)
        self.size = os.fstat(file.fileno()).st_size

    def get(self, at: int, length: int) -> bytes:
        """Return bytes of the file; fewer than `length` at its end, and at most a piece."""
        begin = at - self._start
        if begin < 0 or begin + length > len(self._piece):
            self._file.seek(at)
            self._start, self._piece, begin = at, self._file.read(_PIECE_BYTES), 0
        return self._piece[begin : begin + length]

    def header(self, at: int) -> _Header | None:
        """Return the header of a frame, or None."""
        if self._header[0] != at:  # every header is looked at twice: where a frame ends, and where the next one begins
            self._header = at, _parsed(self.get(at, _HEADER_BYTES))
        return self._header[1]

    def beginnings(self, start: int) -> Iterator[int]:
        """Yield where a header or a tag may begin, in order; some of them twice."""
        while piece := self.get(start, _PIECE_BYTES):
            for match in _BEGINNING.finditer(piece):
                yield start + match.start()
            start += max(1, len(piece) - _LONGEST_BEGINNING_BYTES + 1)


def _follows(content: _Content, at: int, end: int) -> int:
    """Return where the frame or tag begins that follows what is at a place; the length of the file if none does.

    Args:
        content: The file.
        at: The place.
        end: Where the frame there ends, `at` without one.
    """
    if end > at:
        if _continues(content, end):
            return _cut_by(content, at, end)
    elif 0 < (tag_bytes := id3_bytes(content.get(at, ID3_HEADER_BYTES))) <= content.size - at:
        return at + tag_bytes
    for place in content.beginnings(at + 1):
        header = content.header(place)
        if _is_tag(content, place) if header is None else _continues(content, place + header.size):
            return place
    return content.size


def _continues(content: _Content, end: int) -> bool:
    """Return whether a frame can end there: at the end of the file, a header or a tag."""
    if end >= content.size:
        return end == content.size
    return content.header(end) is not None or _is_tag(content, end)


def _cut_by(content: _Content, at: int, end: int) -> int:
    """Return where a recording begins inside a frame with another one at its stated end; `end` if none does.

    By chance, the stated end of a frame that is cut is such a start.
    """
    fixed, data = content.get(end, _FIXED_BYTES), content.get(at, end - at)
    inside = data.find(fixed, _HEADER_BYTES) if fixed else -1
    while inside >= 0:
        place = at + inside
        while place < end and content.get(place, _FIXED_BYTES) == fixed:
            header = content.header(place)
            if header is None:
                break
            place += header.size
        if place == end:
            return at + inside
        inside = data.find(fixed, inside + 1)
    return end


def _parsed(head: bytes) -> _Header | None:
    """Return what the first `_HEADER_BYTES` bytes of a frame state; None if they are not a header."""
    if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 0x0F
    size = (head[3] & 0x03) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_RATES_HZ) or size < _HEADER_BYTES:
        return None
    blocks = (head[6] & 0x03) + 1
    return _Header(size, blocks * _BLOCK_SAMPLES / _RATES_HZ[rate])


def _is_tag(content: _Content, at: int) -> bool:
    head = content.get(at, ID3_HEADER_BYTES)
    return id3_bytes(head) > 0 if head.startswith(b"ID3") else head.startswith(TAGS)
