"""Decoded frames of FFmpeg as they are displayed: scaled, turned, with square pixels."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame as AvFrame

__all__ = ["Scaler", "displayed_size", "fitted_size"]

_TURNS = {90: (("transpose", "clock"),), 180: (("hflip", ""), ("vflip", "")), 270: (("transpose", "cclock"),)}


def displayed_size(frame: "AvFrame", aspect: float = 1.0) -> tuple[int, int]:
    """Return width and height of a frame with square pixels, before it is turned.

    Args:
        frame: The frame.
        aspect: The width of its pixels, in heights.
    """
    return max(1, round(frame.width * aspect)), frame.height


def fitted_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return a size scaled down to a longest side; as it was if it is not longer."""
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


class Scaler:
    """Converts frames to one pixel format.

    Args:
        pixels: FFmpeg's name of the pixel format.
        side: The longest side of the result.
    """

    def __init__(self, pixels: str, side: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._pixels, self._side = pixels, side
        self._graph: Graph | None = None
        self._key: tuple[int, int, int] | None = None

    def convert(self, frame: "AvFrame", aspect: float, degrees: int) -> "AvFrame":
        """Return a frame as it is displayed.

        Args:
            frame: The decoded frame.
            aspect: The width of its pixels, in heights.
            degrees: By how much it is turned, clockwise.
        """
        width, height = fitted_size(*displayed_size(frame, aspect), self._side)
        full = "JPEG" if self._pixels.startswith("yuvj") else None
        scaled = self._reformatter.reformat(frame, width, height, self._pixels, dst_color_range=full)
        return scaled if degrees not in _TURNS else self._turned(scaled, degrees)

    def rgb(self, frame: "AvFrame", aspect: float, degrees: int) -> NDArray[np.uint8]:
        """Return a frame as RGB, `(height, width, 3)`. For a scaler with the format rgb24."""
        return self.convert(frame, aspect, degrees).to_ndarray().astype(np.uint8, copy=False)

    def _turned(self, frame: "AvFrame", degrees: int) -> "AvFrame":
        from av.filter import Graph
        from av.video.frame import VideoFrame

        key = (frame.width, frame.height, degrees)
        if self._graph is None or key != self._key:
            graph = Graph()
            last = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            for name, arguments in _TURNS[degrees]:
                node = graph.add(name, arguments)
                last.link_to(node)
                last = node
            last.link_to(graph.add("buffersink"))
            graph.configure()
            self._graph, self._key = graph, key
        self._graph.push(frame)
        turned = self._graph.pull()
        assert isinstance(turned, VideoFrame)
        return turned
