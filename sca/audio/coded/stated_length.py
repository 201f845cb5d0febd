"""The length that a coded file states: a promise, or nothing. An estimate from the bit rate is not a promise.

FFmpeg returns an estimate for formats without a length, in the same field as a stated length. An estimate can be wrong
by any factor if the bit rate varies, so a file that differs from it is not cut short.
"""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from sca.audio.coded.tags import ID3_HEADER_BYTES, id3_bytes

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

__all__ = ["stated_seconds", "xing_seconds"]

_NO_LENGTH = frozenset({"aac", "ac3", "amr", "dts", "dtshd", "eac3", "loas", "mlp", "mpeg", "mpegts", "truehd"})
"""Demuxers of formats that state no length."""
_XING_SLACK_S = 0.5
_HEAD_BYTES = 4096
_RATES_HZ = (44_100, 48_000, 32_000)


def stated_seconds(container: "InputContainer", stream: "AudioStream", path: Path) -> float | None:
    """Return the length that the headers of a file state for a stream; None if they state none.

    Args:
        container: The open file.
        stream: The stream.
        path: The file.
    """
    name = container.format.name
    if name in _NO_LENGTH or (name == "wav" and not stream.codec_context.name.startswith("pcm_")):
        return None
    seconds: float | None = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    # Matroska states only the length of the whole file, which is that of the audio if it is the only stream.
    elif len(container.streams) == 1 and container.duration is not None:
        seconds = float(container.duration / 1e6)
    if name == "mp3":
        stated = xing_seconds(path)
        # FFmpeg estimates the length of a file that is longer than its header states.
        is_stated = seconds is not None and stated is not None and abs(seconds - stated) < _XING_SLACK_S
        return seconds if is_stated else None
    return seconds


def xing_seconds(path: Path) -> float | None:
    """Return the length in the Xing, Info or VBRI header of an MP3 file; None without such a header.

    Source: "MPEG Audio Frame Header" by K. Windszus, codeproject.com, and `mp3dec.c` of FFmpeg.
    """
    with path.open("rb") as file:
        file.seek(id3_bytes(file.read(ID3_HEADER_BYTES)))
        data = file.read(_HEAD_BYTES)
    at = next((i for i in range(len(data) - 200) if data[i] == 0xFF and data[i + 1] & 0xE6 == 0xE2), None)
    if at is None:
        return None
    version, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 2 & 3
    if version == 1 or rate == 3:
        return None
    is_mono, is_first = data[at + 3] >> 6 == 3, version == 3
    rate_hz = _RATES_HZ[rate] >> (0 if is_first else 1 if version == 2 else 2)
    side_bytes = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
    tag = at + 4 + side_bytes
    frames = 0
    if data[tag : tag + 4] in (b"Xing", b"Info"):
        flags, frames = struct.unpack(">II", data[tag + 4 : tag + 12])
        frames = frames if flags & 1 else 0
    elif data[at + 36 : at + 40] == b"VBRI":
        (frames,) = struct.unpack(">I", data[at + 50 : at + 54])
    return frames * (1152 if is_first else 576) / rate_hz if frames else None
