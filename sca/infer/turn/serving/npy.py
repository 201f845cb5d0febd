"""Reads audio from the bytes of `np.save`, strictly: anything but one small numeric array is rejected with the reason.

Pickled objects are never read, the size of the header is bounded, and nothing is allocated that the body does not
contain.
"""

import io
import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NpyError", "read_npy"]

_MAGIC = b"\x93NUMPY"
_VERSIONS = ((1, 0), (2, 0), (3, 0))
_MAX_HEADER_BYTES = 4096
_KEYS = (b"descr", b"fortran_order", b"shape")
_MAX_AMPLITUDE = 1e6  # int16 stored as float32 without scaling is still audio; above this, squares overflow
_FLOATS, _INTEGERS = ("f4", "f8"), ("i2", "i4")


class NpyError(ValueError):
    """A body that is not accepted.

    Attributes:
        status: The HTTP status: 400 not readable, 413 too large, 422 not such audio.
        message: The reason.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True, slots=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    size: int


def read_npy(body: bytes | bytearray, max_bytes: int) -> NDArray[np.float32]:
    """Read mono audio from the bytes of `np.save`.

    Accepts float32 and float64 as they are, int16 and int32 scaled to [-1, 1), in either byte order, with the shape
    (n,), (1, n) or (n, 1).

    Args:
        body: The bytes.
        max_bytes: The limit for the samples. A header that declares more is rejected before anything is allocated.

    Returns:
        Finite float32 samples `(n,)`, n ≥ 1; a view of `body` if no conversion is needed.

    Raises:
        NpyError: The body is not accepted.
    """
    header = _read_header(body)
    _check_dtype(header.dtype)
    declared = math.prod(header.shape) * header.dtype.itemsize
    if declared > max_bytes:
        raise NpyError(413, f"the header declares {declared} bytes of samples, and the limit is {max_bytes}")
    _check_shape(header.shape)
    actual = len(body) - header.size
    if actual != declared:
        problem = "cut short" if actual < declared else "longer than its header declares"
        raise NpyError(400, f"the body is {problem}: {actual} bytes of samples instead of {declared}")
    return _to_float32(np.frombuffer(body, header.dtype, offset=header.size))


def _read_header(body: bytes | bytearray) -> _Header:
    if not body:
        raise NpyError(400, "the body is empty; send the bytes of np.save")
    if bytes(body[:6]) != _MAGIC:
        raise NpyError(400, "the body is not an npy file; send the bytes of np.save, float32 mono at 16 kHz")
    version = (body[6], body[7]) if len(body) >= 8 else (0, 0)
    if version not in _VERSIONS:
        raise NpyError(400, f"npy version {version[0]}.{version[1]} does not exist")
    start = 10 if version == (1, 0) else 12
    length = int.from_bytes(body[8:start], "little")
    if len(body) >= start and length > _MAX_HEADER_BYTES:
        raise NpyError(400, f"the npy header has {length} bytes, and the limit is {_MAX_HEADER_BYTES}")
    if len(body) < start + length:
        raise NpyError(400, "the body is cut short within the npy header")
    return _parse_header(bytes(body[: start + length]), version)


def _parse_header(data: bytes, version: tuple[int, int]) -> _Header:
    """Parse the magic string and the header."""
    stream = io.BytesIO(data)
    stream.seek(8)
    # Version 3.0 differs from 2.0 only in the encoding of field names, and arrays with fields are rejected.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns about headers that Python 2 wrote
            shape, _, dtype = read(stream, max_header_size=_MAX_HEADER_BYTES)
    except Exception as error:  # numpy passes on whatever its parsers raise
        raise NpyError(400, "the npy header cannot be read") from error
    # numpy accepts negative sizes, and takes the last of several equal keys.
    if min(shape, default=0) < 0 or (dtype.names is None and any(data.count(key) != 1 for key in _KEYS)):
        raise NpyError(400, "the npy header cannot be read")
    return _Header(shape, dtype, len(data))


def _check_dtype(dtype: np.dtype[np.generic]) -> None:
    if dtype.names is not None:
        raise NpyError(422, "the array has named fields; send float32")
    if dtype.hasobject:
        raise NpyError(400, "the array contains pickled Python objects, which are never read; send float32")
    if dtype.str[1:] not in _FLOATS + _INTEGERS:
        raise NpyError(422, f"the samples are {dtype.str!r}; send float32 (or float64, int16, int32)")


def _check_shape(shape: tuple[int, ...]) -> None:
    if math.prod(shape) == 0:
        raise NpyError(422, f"the array of shape {shape} contains no samples")
    if len(shape) not in (1, 2) or (len(shape) == 2 and 1 not in shape):
        raise NpyError(422, f"the array has shape {shape}; send mono as (n,)")


def _to_float32(raw: NDArray[np.generic]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        x = raw.astype(np.float32, copy=False)
    if raw.dtype.kind == "i":
        # Not sca.audio.pcm: the samples may have 32 bits, and either byte order.
        return x * np.float32(2.0 ** (1 - 8 * raw.dtype.itemsize))
    # A NaN makes both the minimum and the maximum NaN, and comparisons with NaN are false.
    if not (float(x.min()) >= -_MAX_AMPLITUDE and float(x.max()) <= _MAX_AMPLITUDE):
        is_finite = bool(np.isfinite(raw.astype(np.float64)).all())
        problem = f"samples beyond ±{_MAX_AMPLITUDE:g}" if is_finite else "samples that are NaN or infinite"
        raise NpyError(422, f"the array contains {problem}; send audio in [-1, 1]")
    return x
