"""Pictures as models receive them: smaller, and as JPEG."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["jpeg_of", "scaled"]

_QUALITY_SCALE = 4
"""FFmpeg's quantizer scale of JPEG, 2 (best) to 31: about the quality 85 of libjpeg."""


def jpeg_of(pixels: NDArray[np.uint8], side: int) -> bytes:
    """Return a picture as a JPEG file.

    Args:
        pixels: RGB, uint8 `(height, width, 3)`.
        side: The longest side of the file, in pixels. Smaller pictures are not enlarged.
    """
    import av

    picture = _reformatted(pixels, side, "yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.options = {"qmin": str(_QUALITY_SCALE), "qmax": str(_QUALITY_SCALE)}
    encoder.thread_count = 1
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def scaled(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a picture of at most `side` pixels on its longest side, RGB, uint8 `(height, width, 3)`."""
    if max(pixels.shape[:2]) <= side:
        return pixels
    result: NDArray[np.uint8] = _reformatted(pixels, side, "rgb24").to_ndarray(format="rgb24")
    return result


def _reformatted(pixels: NDArray[np.uint8], side: int, kind: str) -> Any:
    import av

    height, width = pixels.shape[:2]
    factor = min(1.0, side / max(height, width))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    picture = frame.reformat(
        width=max(1, round(width * factor)), height=max(1, round(height * factor)), format=kind, interpolation="AREA"
    )
    picture.pts = 0
    return picture
