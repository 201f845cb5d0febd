"""Frames of FLAC and their places in the stream, from the headers of the frames.

FFmpeg returns a damaged frame and a few beside it as one packet without a timestamp.
"""

from collections.abc import Iterator

__all__ = ["FLAC_OPTIONS", "first_sample", "split_frames"]

FLAC_OPTIONS = {"err_detect": "crccheck+explode"}
"""Makes FFmpeg drop a frame with a wrong checksum, which it decodes to noise otherwise."""
_SYNC = 0x7FFC  # 14 bits of ones and a zero, then the bit of the blocking strategy (RFC 9639, section 9.1)
_NUMBER_AT = 4
_HEADER_BYTES = 16
_MAX_FRAMES_LATER = 16


def first_sample(frame: bytes, block_samples: int) -> int | None:
    """Return the index of the first sample of a frame, or None if its header is damaged.

    Args:
        frame: The beginning of the frame, at least 11 bytes of it.
        block_samples: The samples of a frame, in streams in which all frames but the last one have the same length.
    """
    if len(frame) <= _NUMBER_AT or int.from_bytes(frame[:2], "big") >> 1 != _SYNC:
        return None
    number = _coded_number(frame[_NUMBER_AT:])
    if number is None:
        return None
    is_variable = frame[1] & 1
    return number if is_variable else number * block_samples


def split_frames(packet: bytes, block_samples: int) -> Iterator[tuple[int | None, bytes]]:
    """Yield the frames of a packet, each with the index of its first sample, or None if its header is damaged.

    Args:
        packet: One or more frames.
        block_samples: See `first_sample`.
    """
    start, first = 0, first_sample(packet[:_HEADER_BYTES], block_samples)
    at = packet.find(b"\xff", 1)
    while at >= 0 and first is not None:
        later = first_sample(packet[at : at + _HEADER_BYTES], block_samples)
        if later is not None and first < later <= first + _MAX_FRAMES_LATER * block_samples:
            yield first, packet[start:at]
            start, first = at, later
        at = packet.find(b"\xff", at + 1)
    yield first, packet[start:]


def _coded_number(data: bytes) -> int | None:
    """Decode a number of up to 36 bits, coded as UTF-8 codes characters (RFC 9639, section 9.1.5)."""
    first = data[0]
    ones = 8 - (~first & 0xFF).bit_length()
    if ones in (1, 8) or len(data) < ones:
        return None
    if ones == 0:
        return first
    value = first & (0x7F >> ones)
    for byte in data[1:ones]:
        if byte >> 6 != 0b10:
            return None
        value = value << 6 | byte & 0x3F
    return value
