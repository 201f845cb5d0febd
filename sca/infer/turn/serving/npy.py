"""Read sound out of the bytes of `np.save`, strictly: what is not exactly one small numeric array is refused and said why.

Never unpickles and never evaluates: the header is matched, not parsed as Python. Nothing is allocated that the body does not
hold. Format: `numpy.lib.format` (NEP 1), versions 1.0, 2.0 and 3.0.
"""

import math
import re
import struct
from dataclasses import dataclass

import numpy as np

__all__ = ["NpyError", "read_npy"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 4096
_LOUDEST = 1e6  # int16 sent as float32 without scaling is still sound; beyond this, squares overflow

_ENTRY = re.compile(
    r"\s*'(?P<key>descr|fortran_order|shape)'\s*:\s*"
    r"(?P<value>'[^'\\]{1,16}'|True|False|\((?:\s*\d{1,20}\s*,?)*\s*\)|\[.*\])\s*(?:,|$)",
    re.ASCII,
)
_SCALES = {"i2": 2.0**-15, "i4": 2.0**-31}


class NpyError(ValueError):
    """What is wrong with a body. status: what HTTP calls it (400 not readable, 413 too large, 422 not such sound)."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


@dataclass(frozen=True, slots=True)
class _Header:
    descr: str
    shape: tuple[int, ...]
    end: int  # where the data begins


def read_npy(body: bytes | bytearray, max_bytes: int) -> np.ndarray:
    """Mono samples, float32 `(n,)` with n ≥ 1, finite, of the bytes of `np.save`; a view of `body` when nothing is to convert.

    Takes float32 and float64 as they are, int16 and int32 scaled to [-1, 1), either byte order, of shape (n,), (1, n) or (n, 1).
    Raises `NpyError` for everything else, for a body that is longer or shorter than its header says, and, before anything is
    allocated, for a header that says more than `max_bytes`.
    """
    header = _read_header(body)
    dtype = _dtype(header.descr)
    declared = math.prod(header.shape) * dtype.itemsize
    if declared > max_bytes:
        raise NpyError(413, f"the header says {declared} bytes of samples, and {max_bytes} are the limit")
    _check_shape(header.shape)
    held = len(body) - header.end
    if held != declared:
        word = "cut short" if held < declared else "longer than its header says"
        raise NpyError(400, f"the body is {word}: {held} bytes of samples instead of {declared}")
    return _samples(np.frombuffer(body, dtype, offset=header.end), header.descr[1:])


def _read_header(body: bytes | bytearray) -> _Header:
    if not body:
        raise NpyError(400, "the body is empty; send the bytes of np.save")
    if bytes(body[:6]) != _MAGIC:
        raise NpyError(400, "the body is no npy file; send the bytes of np.save, float32 mono at 16 kHz")
    major, minor = (body[6], body[7]) if len(body) >= 8 else (0, 0)
    if (major, minor) not in ((1, 0), (2, 0), (3, 0)):
        raise NpyError(400, f"npy version {major}.{minor} does not exist")
    start = 10 if major == 1 else 12
    if len(body) < start:
        raise NpyError(400, "the body is cut short within the npy header")
    (length,) = struct.unpack_from("<H" if major == 1 else "<I", body, 8)
    if length > _MAX_HEADER_BYTES:
        raise NpyError(400, f"the npy header has {length} bytes; {_MAX_HEADER_BYTES} are the limit")
    if len(body) < start + length:
        raise NpyError(400, "the body is cut short within the npy header")
    try:
        text = bytes(body[start : start + length]).decode("utf-8" if major == 3 else "latin-1")
    except UnicodeDecodeError as error:
        raise NpyError(400, "the npy header is not text") from error
    return _match_header(text, start + length)


def _match_header(text: str, end: int) -> _Header:
    text = text.strip()
    broken = NpyError(400, "the npy header does not read")
    if not (text.startswith("{") and text.endswith("}")):
        raise broken
    inside, at, found = text[1:-1].rstrip(), 0, dict[str, str]()
    while at < len(inside):
        entry = _ENTRY.match(inside, at)
        if entry is None or entry["key"] in found:
            raise broken
        found[entry["key"]], at = entry["value"], entry.end()
    descr, shape = found.get("descr", ""), found.get("shape", "")
    if set(found) != {"descr", "fortran_order", "shape"} or found["fortran_order"] not in ("True", "False"):
        raise broken
    if descr.startswith("["):
        raise NpyError(422, "the array has named fields; send float32")
    if not descr.startswith("'") or not shape.startswith("("):
        raise broken
    return _Header(descr[1:-1], tuple(int(size) for size in re.findall(r"\d+", shape)), end)


def _dtype(descr: str) -> np.dtype[np.generic]:
    if descr[1:2] == "O" or descr == "O":
        raise NpyError(400, "the array holds pickled Python objects, which are never read; send float32")
    if not re.fullmatch(r"[<>=|](f4|f8|i2|i4)", descr):
        raise NpyError(422, f"the samples are {descr!r}; send float32 (or float64, int16, int32)")
    return np.dtype(descr)


def _check_shape(shape: tuple[int, ...]) -> None:
    if math.prod(shape) == 0:
        raise NpyError(422, f"the array of shape {shape} holds no samples")
    if len(shape) not in (1, 2) or (len(shape) == 2 and 1 not in shape):
        raise NpyError(422, f"the array has shape {shape}; send mono as (n,)")


def _samples(raw: np.ndarray, kind: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = raw.astype(np.float32, copy=False)
    if kind in _SCALES:
        return x * np.float32(_SCALES[kind])
    # A NaN makes both ends NaN, and a comparison with one is false.
    if not (float(x.min()) >= -_LOUDEST and float(x.max()) <= _LOUDEST):
        finite = bool(np.isfinite(raw).all())
        what = f"samples beyond ±{_LOUDEST:g}" if finite else "samples that are NaN or infinite"
        raise NpyError(422, f"the array holds {what}; send sound in [-1, 1]")
    return x
