"""G.711: 8-bit µ-law and A-law telephone audio, converted to and from int16 with lookup tables.

The encoders follow ITU-T G.191's reference (`ulaw_compress`, `alaw_compress`): the magnitude of a negative sample is
its one's complement, so -1 and 0 fall into mirrored first steps.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Law", "decode_g711", "encode_g711"]

Law = Literal["ulaw", "alaw"]


def decode_g711(data: bytes, law: Law) -> NDArray[np.int16]:
    """Decode each byte to one int16 sample, `(n,)`."""
    return _DECODE[law][np.frombuffer(data, np.uint8)]


def encode_g711(samples: NDArray[np.int16], law: Law) -> bytes:
    """Encode each sample of int16 `(n,)` to one byte.

    Raises:
        ValueError: `samples` has another dtype or shape.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected int16 (n,), got {samples.dtype} {samples.shape}")
    return _ENCODE[law][samples.view(np.uint16)].tobytes()


def _exponent(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return floor(log2), exact for positive integers below 2^53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1


def _decode_ulaw() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    size = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _decode_alaw() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    segment, step = (code & 0x70) >> 4, (code & 0x0F) << 4
    size = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _magnitudes() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return, for every int16 in the order of its bits as uint16, its one's complement magnitude and whether it is negative."""
    samples = np.arange(1 << 16).astype(np.uint16).view(np.int16).astype(np.int64)
    return np.where(samples < 0, ~samples, samples), samples < 0


def _encode_ulaw() -> NDArray[np.uint8]:
    size, negative = _magnitudes()
    size = np.minimum((size >> 2) + 33, 0x1FFF)
    segment = _exponent(size) - 5
    code = (segment << 4) | ((size >> (segment + 1)) & 0x0F)
    encoded: NDArray[np.uint8] = (~(code | np.where(negative, 0x80, 0)) & 0xFF).astype(np.uint8)
    return encoded


def _encode_alaw() -> NDArray[np.uint8]:
    size, negative = _magnitudes()
    size >>= 4
    segment = np.where(size > 15, _exponent(np.maximum(size, 16)) - 3, 0)
    code = (segment << 4) | ((size >> np.maximum(segment - 1, 0)) & 0x0F)
    encoded: NDArray[np.uint8] = ((code | np.where(negative, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return encoded


_DECODE: dict[Law, NDArray[np.int16]] = {"ulaw": _decode_ulaw(), "alaw": _decode_alaw()}
_ENCODE: dict[Law, NDArray[np.uint8]] = {"ulaw": _encode_ulaw(), "alaw": _encode_alaw()}
