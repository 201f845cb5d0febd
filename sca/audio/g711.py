"""G.711: the telephone's 8 bits per sample, µ-law and A-law, to and from int16 by table.

Knows no rate and no container. The encoders follow ITU-T G.191's reference (`ulaw_compress`, `alaw_compress`): the magnitude of a
negative sample is its one's complement, so -1 and 0 lie in mirrored first steps.
"""

from typing import Literal

import numpy as np

__all__ = ["Law", "decode_g711", "encode_g711"]

Law = Literal["ulaw", "alaw"]


def decode_g711(data: bytes, law: Law) -> np.ndarray:
    """One int16 `(n,)` sample per byte; any byte is a sample."""
    result: np.ndarray = _DECODE[law][np.frombuffer(data, np.uint8)]
    return result


def encode_g711(samples: np.ndarray, law: Law) -> bytes:
    """One byte per sample of int16 `(n,)`. Raises ValueError for another dtype or shape."""
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected int16 (n,), got {samples.dtype} {samples.shape}")
    return _ENCODE[law][samples.view(np.uint16)].tobytes()


def _exponent(values: np.ndarray) -> np.ndarray:
    """floor(log2), exact for positive integers below 2^53."""
    result: np.ndarray = np.frexp(values.astype(np.float64))[1] - 1
    return result


def _decode_ulaw() -> np.ndarray:
    code = ~np.arange(256) & 0xFF
    size = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    result: np.ndarray = np.where(code & 0x80, -size, size).astype(np.int16)
    return result


def _decode_alaw() -> np.ndarray:
    code = np.arange(256) ^ 0x55
    segment, step = (code & 0x70) >> 4, (code & 0x0F) << 4
    size = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    result: np.ndarray = np.where(code & 0x80, size, -size).astype(np.int16)
    return result


def _magnitudes() -> tuple[np.ndarray, np.ndarray]:
    """Of every int16, in the order of its bits as uint16: one's complement magnitude, and whether it is negative."""
    samples = np.arange(1 << 16).astype(np.uint16).view(np.int16).astype(np.int64)
    return np.where(samples < 0, ~samples, samples), samples < 0


def _encode_ulaw() -> np.ndarray:
    size, negative = _magnitudes()
    size = np.minimum((size >> 2) + 33, 0x1FFF)
    segment = _exponent(size) - 5
    code = (segment << 4) | ((size >> (segment + 1)) & 0x0F)
    result: np.ndarray = (~(code | np.where(negative, 0x80, 0)) & 0xFF).astype(np.uint8)
    return result


def _encode_alaw() -> np.ndarray:
    size, negative = _magnitudes()
    size >>= 4
    segment = np.where(size > 15, _exponent(np.maximum(size, 16)) - 3, 0)
    code = (segment << 4) | ((size >> np.maximum(segment - 1, 0)) & 0x0F)
    result: np.ndarray = ((code | np.where(negative, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return result


_DECODE: dict[Law, np.ndarray] = {"ulaw": _decode_ulaw(), "alaw": _decode_alaw()}
_ENCODE: dict[Law, np.ndarray] = {"ulaw": _encode_ulaw(), "alaw": _encode_alaw()}
