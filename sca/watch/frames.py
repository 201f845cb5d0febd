"""Pictures of a video, in memory and as JPEG.

Two times belong to a picture, both in integer microseconds:

    time_us   the time of the source: its presentation time since the first picture. It never decreases, also when a
              file starts again or a camera is connected again.
    at_us     the time of the session: when the picture could be used. `now_us` of the policy is on the same clock.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["JpegFrame", "VideoFrame"]


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """A picture as it is shown: rotated as its container specifies.

    Attributes:
        index: Counts the pictures of the source from 0.
        time_us: The time of the source, in microseconds.
        at_us: The time of the session, in microseconds.
        pixels: RGB, uint8 `(height, width, 3)`, not to be changed.
    """

    index: int
    time_us: int
    at_us: int
    pixels: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """A picture for display.

    Attributes:
        index: Counts the pictures of the source from 0.
        time_us: The time of the source, in microseconds.
        at_us: The time of the session, in microseconds.
        width: In pixels.
        height: In pixels.
        data: The JPEG file.
    """

    index: int
    time_us: int
    at_us: int
    width: int
    height: int
    data: bytes = field(repr=False)
