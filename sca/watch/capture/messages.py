"""What the process that reads a video and the one that uses it send each other.

    asks            answers
    request json    ANSWER json (the video, once a picture of it was decoded), PICTURE, … END json | ERROR json

The messages have the form of `sca.audio.decoder.wire`: neither side unpickles anything, and lengths are checked.
"""

import struct
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from sca.audio.decoder import wire
from sca.watch.capture.address import Address

__all__ = ["PICTURE", "Picture", "SourceInfo", "SourceRequest", "packed", "request_from", "unpacked"]

PICTURE = b"p"
_HEADER = struct.Struct("<qIIIII")


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """How a video is read.

    Attributes:
        address: The video.
        capture_fps: Pictures per second that are returned as RGB.
        display_fps: Most pictures per second that are returned as JPEG; None for all.
        frame_side: RGB pictures are scaled down to this longest side, in pixels.
        display_side: JPEG pictures are scaled down to this longest side, in pixels.
        display_bytes_per_s: The quality of JPEG pictures is lowered until they stay below this.
        loop: Whether a file starts again when it ends.
        start_us: Where to start, for what has a beginning.
        timeout_s: How long a network read may take.
    """

    address: Address
    capture_fps: float = 2.0
    display_fps: float | None = None
    frame_side: int = 1280
    display_side: int = 1280
    display_bytes_per_s: int = 3_000_000
    loop: bool = False
    start_us: int = 0
    timeout_s: float = 10.0

    def fields(self) -> dict[str, object]:
        """Return what JSON holds; `request_from` reverses it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A video that was opened.

    Attributes:
        width: The width of its pictures as they are displayed, unscaled, in pixels.
        height: Their height.
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the container.
        fps: Pictures per second, as stated; 0 if they are not.
        seconds: The length; None for what has no end, or does not state it.
        live: Whether pictures arrive when they are taken, so that they are never to be waited for.
    """

    width: int
    height: int
    codec: str
    container: str
    fps: float
    seconds: float | None
    live: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a video, for display, for the engine, or both.

    Attributes:
        time_us: Its presentation time since the first picture.
        jpeg: The JPEG file; empty if it is not for display.
        jpeg_width: In pixels.
        jpeg_height: In pixels.
        pixels: RGB, uint8 `(height, width, 3)`; None if it is not for the engine.
    """

    time_us: int
    jpeg: bytes = field(repr=False)
    jpeg_width: int
    jpeg_height: int
    pixels: NDArray[np.uint8] | None = field(repr=False)


def request_from(fields: dict[str, object]) -> SourceRequest:
    """Return the request in a JSON object of the other process."""
    address = fields.pop("address")
    assert isinstance(address, dict)
    return SourceRequest(Address(**address), **fields)  # type: ignore[arg-type]  # made by `fields`


def packed(picture: Picture) -> bytes:
    """Return a picture as bytes."""
    height, width = (0, 0) if picture.pixels is None else picture.pixels.shape[:2]
    sizes = (len(picture.jpeg), picture.jpeg_width, picture.jpeg_height, width, height)
    rgb = b"" if picture.pixels is None else np.ascontiguousarray(picture.pixels).data
    return b"".join((_HEADER.pack(picture.time_us, *sizes), picture.jpeg, rgb))


def unpacked(payload: bytearray) -> Picture:
    """Return the picture in a message.

    Raises:
        BrokenWireError: Its lengths contradict each other.
    """
    if len(payload) < _HEADER.size:
        raise wire.BrokenWireError
    time_us, jpeg_bytes, jpeg_width, jpeg_height, width, height = _HEADER.unpack_from(payload)
    rest = len(payload) - _HEADER.size - jpeg_bytes
    if rest != width * height * 3:
        raise wire.BrokenWireError
    jpeg = bytes(memoryview(payload)[_HEADER.size : _HEADER.size + jpeg_bytes])
    pixels = None
    if rest:
        pixels = np.frombuffer(payload, np.uint8, rest, _HEADER.size + jpeg_bytes).reshape(height, width, 3)
        pixels.flags.writeable = False
    return Picture(time_us, jpeg, jpeg_width, jpeg_height, pixels)
