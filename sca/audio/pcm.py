"""Conversion between float32 samples in [-1, 1] and 16-bit PCM."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["INT16_MAX", "INT16_SCALE", "float32_to_int16", "int16_to_float32", "pcm16_bytes", "pcm16_samples"]

INT16_SCALE = np.float32(32768)
"""The int16 value of an amplitude of 1.0. It is a power of two, so int16 → float32 → int16 is exact."""

INT16_MAX = 32767
"""The scale at which full scale is symmetric: 1.0 becomes 32767 and -1.0 becomes -32767.

The live loop writes audio this way.
"""


def int16_to_float32(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """Convert int16 samples of any shape to float32 in [-1, 1)."""
    return pcm.astype(np.float32) / INT16_SCALE


def float32_to_int16(samples: NDArray[np.float32], scale: float = 32768) -> NDArray[np.int16]:
    """Convert float32 samples of any shape to int16: scaled, rounded to nearest, clipped.

    Args:
        samples: Samples in [-1, 1]. Values outside that range are clipped.
        scale: The int16 value of an amplitude of 1.0: 32768, which is the inverse of `int16_to_float32`, or
            `INT16_MAX`.
    """
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * np.float32(scale)), -scale, INT16_MAX).astype(np.int16)
    return pcm


def pcm16_samples(data: bytes | bytearray | memoryview) -> NDArray[np.float32]:
    """Convert little-endian 16-bit PCM to float32 `(n,)`. The length of `data` must be even."""
    return int16_to_float32(np.frombuffer(data, "<i2"))


def pcm16_bytes(samples: NDArray[np.float32], scale: float = 32768) -> bytes:
    """Convert float32 `(n,)` to little-endian 16-bit PCM. See `float32_to_int16`."""
    return float32_to_int16(samples, scale).astype("<i2", copy=False).tobytes()
