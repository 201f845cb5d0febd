"""WAV headers: how much audio a file promises, and how much it contains.

libsndfile silently reads what is left of a truncated file, and nothing at all from a file without sizes,
which a writer leaves that cannot seek back; this module detects both. It supports RIFF, RIFX (big-endian) and RF64
(64-bit sizes).
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["WavHeader", "read_wav_header"]

_UNKNOWN_64 = 0xFFFFFFFF
_FMT_BYTES = 16

# Sizes that mean "unknown": 0 and 0xFFFFFFFF (ffmpeg to a pipe), and the largest signed sizes that sox (0x7FFFF000,
# rounded down to a whole frame) and arecord (0x7FFFFF00) write when they cannot seek back.
_SIGNED_PLACEHOLDERS = range(0x7FFFF000 - 64, 0x80000000 + 1)


@dataclass(frozen=True, slots=True)
class WavHeader:
    """The contents of the `fmt ` chunk and the header of the `data` chunk.

    Attributes:
        promised_bytes: The size of the data chunk, None if the writer left it open.
        present_bytes: The number of bytes that follow in the file.
        block_bytes: Bytes of one sample of all channels.
        bytes_per_s: The byte rate in the header.
    """

    promised_bytes: int | None
    present_bytes: int
    block_bytes: int
    bytes_per_s: int

    @property
    def truncated(self) -> bool:
        """Whether the file is shorter than its header states."""
        return self.promised_bytes is not None and self.promised_bytes > self.present_bytes


def read_wav_header(file: BinaryIO, file_bytes: int) -> WavHeader | None:
    """Read the chunks up to `data`. Moves the position of `file`.

    Args:
        file: The open file.
        file_bytes: The size of the file.

    Returns:
        The header, or None if this is not a WAV file or its `data` chunk does not follow a complete `fmt ` chunk.
    """
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    block_bytes = bytes_per_s = 0
    long_data_bytes: int | None = None
    while len(chunk := file.read(8)) == 8:
        name, size = chunk[:4], struct.unpack(order + "I", chunk[4:])[0]
        if name == b"data":
            if not block_bytes:
                return None
            start = file.tell()
            if size == _UNKNOWN_64 and long_data_bytes is not None:
                size = long_data_bytes
            return WavHeader(_promise(size), max(file_bytes - start, 0), block_bytes, bytes_per_s)
        body = file.read(min(size, 24))
        if name == b"fmt " and len(body) >= _FMT_BYTES:
            bytes_per_s, block_bytes = struct.unpack(order + "IH", body[8:14])
        elif name == b"ds64" and len(body) >= 16:  # RF64: EBU Tech 3306, sizes as 64-bit little-endian numbers
            long_data_bytes = struct.unpack("<Q", body[8:16])[0]
        file.seek(size + size % 2 - len(body), 1)  # chunks are padded to an even length
    return None


def _promise(size: int) -> int | None:
    open_ended = size in (0, _UNKNOWN_64) or size in _SIGNED_PLACEHOLDERS
    return None if open_ended else size
