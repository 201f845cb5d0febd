"""Pictures as JPEG files of a bounded rate: encoded by FFmpeg, or passed on from cameras that send JPEG files."""

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame as AvFrame

__all__ = ["JpegWriter", "RateControl", "is_whole_jpeg"]

_BEST, _FIRST, _WORST = 3, 4, 31
"""Scales of FFmpeg's quantiser; 3 is close to quality 90 of libjpeg."""
_WEIGHT = 0.2
_SETTLE_PICTURES = 4


class RateControl:
    """Chooses the quantiser scale such that pictures stay below a rate. Pure.

    Args:
        bytes_per_s: The rate.

    Attributes:
        scale: The scale to use, from 3 (good) to 31.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._picture_bytes = self._period_us = 0.0
        self._last_us: int | None = None
        self._since_change = 0
        self.scale = _FIRST

    def add(self, time_us: int, n_bytes: int) -> None:
        """Take a picture into account, and choose the scale of the next one."""
        if self._last_us is not None:
            self._period_us = _mean(self._period_us, min(1_000_000, time_us - self._last_us))
        self._last_us = time_us
        self._picture_bytes = _mean(self._picture_bytes, n_bytes)
        self._since_change += 1
        if self._since_change < _SETTLE_PICTURES or not self._period_us:
            return
        share = self._picture_bytes / (self._bytes_per_s * self._period_us / 1e6)
        step = round(self.scale * (share - 0.85)) or 1 if share > 0.95 else -1 if share < 0.6 else 0
        scale = min(_WORST, max(_BEST, self.scale + step))
        if scale != self.scale:
            self.scale, self._since_change = scale, 0

    def fits(self, n_bytes: int) -> bool:
        """Return whether a picture of this size may be passed on: below twice its share of the rate."""
        return not self._period_us or n_bytes <= 2 * self._bytes_per_s * self._period_us / 1e6


class JpegWriter:
    """Encodes pictures; the sizes may change.

    Args:
        control: Chooses the quality.
    """

    def __init__(self, control: RateControl) -> None:
        self._control = control
        self._encoder: VideoCodecContext | None = None
        self._key: tuple[int, int, int] | None = None

    def encode(self, frame: "AvFrame", time_us: int) -> bytes:
        """Return the JPEG file of a picture, and count it.

        Args:
            frame: The picture, in the pixel format yuvj420p.
            time_us: Its presentation time.
        """
        key = (frame.width, frame.height, self._control.scale)
        if self._encoder is None or key != self._key:
            self._encoder, self._key = _encoder(*key), key
        frame.pts, frame.time_base = time_us, Fraction(1, 1_000_000)
        data = b"".join(bytes(packet) for packet in self._encoder.encode(frame))
        self._control.add(time_us, len(data))
        return data


def is_whole_jpeg(data: bytes) -> bool:
    """Return whether a packet of motion JPEG is one JPEG file that browsers display.

    Cameras and AVI files may leave out the Huffman tables, or put two fields into one packet.
    """
    scan = data.find(b"\xff\xda")
    return (
        data.startswith(b"\xff\xd8\xff")
        and 0 < data.find(b"\xff\xc4") < scan
        and data.rstrip(b"\0").endswith(b"\xff\xd9")
        and data.find(b"\xff\xd8\xff", 2) < 0
    )


def _encoder(width: int, height: int, scale: int) -> "VideoCodecContext":
    import av

    encoder: VideoCodecContext = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1_000_000)
    encoder.thread_count = 1  # frames of several threads are late
    encoder.options = {"qmin": str(scale), "qmax": str(scale), "huffman": "default"}
    return encoder


def _mean(mean: float, value: float) -> float:
    return value if not mean else mean + _WEIGHT * (value - mean)
