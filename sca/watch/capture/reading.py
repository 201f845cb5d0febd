"""Read a video in this process: its pictures for display and for the engine, in order, with their times."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.errors import InputError
from sca.watch.capture.jpeg import JpegWriter, RateControl, is_whole_jpeg
from sca.watch.capture.messages import Picture, SourceInfo, SourceRequest
from sca.watch.capture.opening import open_video, video_stream
from sca.watch.capture.scaling import Scaler
from sca.watch.capture.times import Sampler, Timeline

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame as AvFrame
    from av.video.stream import VideoStream

__all__ = ["VideoReader"]

_USUAL_FPS = 25.0
_STILL_US = 1_000_000
_MAX_DAMAGED_PACKETS = 500
_ARRIVAL = ("mpjpeg",)
"""Containers without time stamps: a picture has the time at which it arrived."""


class VideoReader:
    """An open video.

    Args:
        request: What to open, and which pictures to return.

    Attributes:
        damaged: How many packets could not be decoded.
    """

    def __init__(self, request: SourceRequest) -> None:
        """Open the video.

        Raises:
            InputError: It has no moving picture.
            av.FFmpegError: It cannot be opened.
        """
        self._request = request
        self.damaged, self._degrees = 0, 0
        self._control = RateControl(request.display_bytes_per_s)
        self._jpeg = JpegWriter(self._control)
        self._for_display = Scaler("yuvj420p", request.display_side)
        self._for_engine = Scaler("rgb24", request.frame_side)
        self._is_displayed, self._is_sampled = Sampler(request.display_fps), Sampler(request.capture_fps)
        self._container, self._stream = self._open()
        still = self._container.format.name.endswith("_pipe")
        self._timeline = Timeline(_STILL_US if still else round(1e6 / self._fps()), request.start_us)
        self._still = still

    def info(self) -> SourceInfo:
        """Return what the video is. Known exactly once a picture was returned."""
        stream, container = self._stream, self._container
        width, height = round(stream.width * self._aspect()), stream.height
        if self._degrees in (90, 270):
            width, height = height, width
        kind = self._request.address.kind
        known = kind in ("file", "http") and not self._still
        live = kind in ("rtsp", "camera") or container.format.name in _ARRIVAL
        seconds = container.duration / 1e6 if known and container.duration is not None else None
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        return SourceInfo(width, height, stream.codec_context.name, container.format.name, fps, seconds, live)

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures to display and to look at, in order.

        Raises:
            InputError: No picture can be decoded.
            av.FFmpegError: A stream ended unexpectedly.
        """
        any_yet = False
        while True:
            found = False
            for picture in self._one_pass():
                found = any_yet = True
                yield picture
            if not any_yet:
                raise InputError(f"no picture of {self._request.address.shown} can be decoded")
            if not (self._request.loop and found and self._request.address.kind in ("file", "http")):
                return
            self._container.close()
            self._container, self._stream = self._open()
            self._timeline.restart()

    def close(self) -> None:
        """Close the video."""
        self._container.close()

    def _open(self) -> "tuple[InputContainer, VideoStream]":
        container = open_video(self._request)
        return container, video_stream(container, self._request)

    def _one_pass(self) -> Iterator[Picture]:
        """Yield the pictures from here to the end."""
        import av

        first_us = self._seek()
        passes_on = self._stream.codec_context.name == "mjpeg" and not self._still
        by_arrival = self._container.format.name in _ARRIVAL
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                if self._request.address.kind != "file":
                    raise
                self.damaged += 1  # the rest of a damaged file
                packet = None
            if packet is None:
                return
            if by_arrival:
                stamp_us = time.monotonic_ns() // 1000
                yield from self._motion_jpeg(packet, stamp_us)
            elif passes_on and packet.size:
                yield from self._motion_jpeg(packet, _stamp_us(packet))
            else:
                for frame in self._decoded(packet):
                    if first_us is not None and frame.pts is not None and (_stamp_us(frame) or 0) < first_us:
                        continue  # from the key frame before the place
                    yield from self._picture(frame, self._timeline.time_us(_stamp_us(frame)))

    def _seek(self) -> int | None:
        """Go to where reading starts; return the time stamp of that place, or None for the beginning."""
        if not self._request.start_us or not self._container.duration:
            return None
        first_us = self._request.start_us + (self._container.start_time or 0)
        self._container.seek(first_us)
        return first_us

    def _decoded(self, packet: "Packet[VideoStream]") -> "list[AvFrame]":
        import av

        try:
            return packet.decode()
        except av.FFmpegError as error:
            self.damaged += 1
            if self.damaged > _MAX_DAMAGED_PACKETS:
                raise InputError(
                    f"the pictures of {self._request.address.shown} cannot be decoded ({error.strerror})"
                ) from error
            return []

    def _motion_jpeg(self, packet: "Packet[VideoStream]", stamp_us: int | None) -> Iterator[Picture]:
        """Yield the picture of a packet, which is decoded only where its pixels are needed."""
        if not packet.size:
            return
        data, side = bytes(packet), self._request.display_side
        stream = self._stream
        as_it_is = (
            is_whole_jpeg(data)
            and self._control.fits(len(data))
            and max(stream.width, stream.height) <= side
            and not self._degrees
            and self._aspect() == 1
        )
        time_us = self._timeline.time_us(stamp_us)
        displayed, sampled = self._is_displayed.takes(time_us), self._is_sampled.takes(time_us)
        frame = None
        if sampled or (displayed and not as_it_is):
            frame = next(iter(self._decoded(packet)), None)
            if frame is None:
                return
        if not displayed and not sampled:
            return
        jpeg, size = b"", (0, 0)
        if displayed and as_it_is:
            jpeg, size = data, (stream.width, stream.height)
            self._control.add(time_us, len(data))
        elif displayed and frame is not None:
            jpeg, size = self._encoded(frame, time_us)
        yield Picture(time_us, jpeg, *size, self._rgb(frame) if sampled and frame is not None else None)

    def _picture(self, frame: "AvFrame", time_us: int) -> Iterator[Picture]:
        self._degrees = -round(frame.rotation / 90) * 90 % 360
        displayed, sampled = self._is_displayed.takes(time_us), self._is_sampled.takes(time_us)
        if displayed or sampled:
            jpeg, size = self._encoded(frame, time_us) if displayed else (b"", (0, 0))
            yield Picture(time_us, jpeg, *size, self._rgb(frame) if sampled else None)

    def _encoded(self, frame: "AvFrame", time_us: int) -> tuple[bytes, tuple[int, int]]:
        shown = self._for_display.convert(frame, self._aspect(), self._degrees)
        return self._jpeg.encode(shown, time_us), (shown.width, shown.height)

    def _rgb(self, frame: "AvFrame") -> NDArray[np.uint8]:
        return self._for_engine.rgb(frame, self._aspect(), self._degrees)

    def _aspect(self) -> float:
        """Return the width of a pixel, in heights; 1 where none, or one that makes no sense, is stated."""
        aspect = float(self._stream.sample_aspect_ratio or 1)
        return aspect if 0.25 <= aspect <= 4 else 1.0

    def _fps(self) -> float:
        fps = float(self._stream.average_rate or self._stream.guessed_rate or _USUAL_FPS)
        return fps if 0.01 <= fps <= 1000 else _USUAL_FPS


def _stamp_us(item: "AvFrame | Packet[VideoStream]") -> int | None:
    """Return the presentation time of a frame or packet, in microseconds; None if it has none."""
    if item.pts is None or item.time_base is None:
        return None
    return int(item.pts * 1_000_000 * item.time_base)
