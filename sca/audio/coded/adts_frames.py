"""Frames of AAC in ADTS, found by their headers.

FFmpeg's demuxer believes the length in a header. A frame that is cut off, where recordings were joined or bytes are lost,
takes the beginning of the next recording with it: of a recording with small frames, that is a second and more. It can
also refuse what follows. Here a frame counts if no other one begins inside.
Source: ISO/IEC 14496-3, section 1.A.2.2.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AdtsFrame", "adts_frames"]

_HEADER_BYTES = 7
_SYNC = 0xFFF
_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_BLOCK_SAMPLES = 1024
_ID3 = b"ID3"
_ID3_HEADER_BYTES = 10
_TAGS = (_ID3, b"TAG", b"APETAGEX")


@dataclass(frozen=True, slots=True)
class AdtsFrame:
    """A frame, or bytes that are none.

    Attributes:
        data: The frame with its header; empty for damaged bytes.
        seconds: The length of its sound, for damaged bytes that of one frame.
    """

    data: bytes
    seconds: float


def adts_frames(path: Path) -> Iterator[AdtsFrame]:
    """Yield the frames of a file in order, and one item without data for each stretch of bytes that are no frame.

    Tags are left out.

    Args:
        path: The file, not empty.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at, seconds = 0, 0.0
        while at < len(content):
            if content[at : at + len(_ID3)] == _ID3:
                at += _ID3_HEADER_BYTES + _id3_bytes(content[at : at + _ID3_HEADER_BYTES])
                continue
            header = _header(content, at)
            end = at if header is None else at + header[0]
            if header is not None:
                seconds = header[1]
            follows = end if header is not None and _continues(content, end) else _next_frame(content, at + 1)
            if at < end <= follows:  # otherwise the frame is cut: the next one begins inside
                yield AdtsFrame(content[at:end], seconds)
            is_tag = any(content[at : at + len(tag)] == tag for tag in _TAGS)
            if follows != end and seconds and not is_tag:
                yield AdtsFrame(b"", seconds)
            at = follows


def _continues(content: mmap.mmap, end: int) -> bool:
    """Return whether a frame can end there: at the end of the file, a header or a tag."""
    if end >= len(content):
        return end == len(content)
    return _header(content, end) is not None or any(content[end : end + len(tag)] == tag for tag in _TAGS)


def _next_frame(content: mmap.mmap, start: int) -> int:
    """Return where the next frame or tag begins that another one follows; the length of the file if there is none."""
    at = start
    while (at := content.find(b"\xff", at)) >= 0:
        header = _header(content, at)
        if header is not None and _continues(content, at + header[0]):
            break
        at += 1
    tag = content.find(_ID3, start, at if at >= 0 else len(content))
    return min(place for place in (at, tag, len(content)) if place >= 0)


def _header(content: mmap.mmap, at: int) -> tuple[int, float] | None:
    """Return the length of a frame in bytes and in seconds; None if no header is there."""
    head = content[at : at + _HEADER_BYTES]
    if len(head) < _HEADER_BYTES or int.from_bytes(head[:2], "big") >> 4 != _SYNC or head[1] & 0x06:
        return None
    rate = head[2] >> 2 & 0x0F
    size = (head[3] & 0x03) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_RATES_HZ) or size < _HEADER_BYTES:
        return None
    blocks = (head[6] & 0x03) + 1
    return size, blocks * _BLOCK_SAMPLES / _RATES_HZ[rate]


def _id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag after its header (ID3v2.4, section 3.1); 0 if the header is cut off."""
    if len(head) < _ID3_HEADER_BYTES:
        return 0
    return sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
