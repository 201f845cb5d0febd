"""Audio from the bytes of np.save: accepted formats, and rejections with their reasons."""

import io
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from sca.infer.turn.serving.npy import NpyError, read_npy

LIMIT = 1 << 20


def saved(x, version=None, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, x, version=version, **options)
    return out.getvalue()


def with_header(text: str, data: bytes = b"", version=(1, 0)) -> bytes:
    text = text.encode("latin-1")
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


WAVE = np.linspace(-1, 1, 321).astype(np.float32)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_reads_float32_unchanged(version):
    x = read_npy(saved(WAVE, version), LIMIT)
    assert np.array_equal(x, WAVE)
    assert x.dtype == np.float32


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_reads_floats_of_both_byte_orders(dtype):
    assert np.array_equal(read_npy(saved(WAVE.astype(dtype)), LIMIT), WAVE)


@pytest.mark.parametrize(("dtype", "scale"), [("<i2", 2**15), (">i2", 2**15), ("<i4", 2**31), (">i4", 2**31)])
def test_scales_integers(dtype, scale):
    x = np.array([-scale, 0, scale // 2], dtype)
    assert read_npy(saved(x), LIMIT).tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("shape", [(321,), (1, 321), (321, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_accepts_mono_shapes(shape, order):
    x = np.asarray(WAVE.reshape(shape), order=order)
    assert np.array_equal(read_npy(saved(x), LIMIT), WAVE)


def test_reads_headers_of_other_writers():
    for text in (
        "{'shape': (3,), 'fortran_order': False, 'descr': '<f4'}",
        "{'descr':'<f4','fortran_order':False,'shape':(3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }          \n",
    ):
        assert read_npy(with_header(text, bytes(12)), LIMIT).tolist() == [0, 0, 0]


REJECTED = {
    "empty": (b"", 400, "empty"),
    "not npy": (b"RIFF" + bytes(100), 400, "not an npy file"),
    "bare pickle": (pickle.dumps(WAVE), 400, "not an npy file"),
    "pickled objects": (saved(np.array([{}], object), allow_pickle=True), 400, "pickled"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(100), 400, "version 9.0"),
    "magic alone": (b"\x93NUMPY", 400, "version 0.0"),
    "cut in the header": (saved(WAVE)[:50], 400, "cut short within the npy header"),
    "cut in the data": (saved(WAVE)[:-1], 400, "cut short: 1283 bytes of samples instead of 1284"),
    "trailing bytes": (saved(WAVE) + b"\0", 400, "longer"),
    "huge header": (with_header("{" + " " * 9000 + "}"), 400, "9002 bytes, and the limit is 4096"),
    "code": (
        with_header("{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,)}", bytes(12)),
        400,
        "cannot be read",
    ),
    "not a header": (with_header("[]"), 400, "cannot be read"),
    "key twice": (
        with_header("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", bytes(12)),
        400,
        "cannot be read",
    ),
    "extra key": (
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}", bytes(12)),
        400,
        "cannot be read",
    ),
    "negative": (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}"), 400, "cannot be read"),
    "not utf-8": (with_header("{'descr': '\xff'}", version=(3, 0)), 400, "cannot be read"),
    "10 GB": (
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2500000000,)}", bytes(12)),
        413,
        "10000000000 bytes",
    ),
    "more than any body": (
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 9999999999)}"),
        413,
        "limit",
    ),
    "no samples": (saved(np.zeros(0, np.float32)), 422, "contains no samples"),
    "scalar": (saved(np.float32(0)), 422, "shape ()"),
    "stereo": (saved(np.zeros((160, 2), np.float32)), 422, r"shape (160, 2)"),
    "stereo, planar": (saved(np.zeros((2, 160), np.float32)), 422, r"shape (2, 160)"),
    "cube": (saved(np.zeros((1, 1, 5), np.float32)), 422, "shape (1, 1, 5)"),
    "uint8": (saved(np.zeros(5, np.uint8)), 422, "'|u1'"),
    "float16": (saved(np.zeros(5, np.float16)), 422, "'<f2'"),
    "complex": (saved(np.zeros(5, np.complex64)), 422, "'<c8'"),
    "fields": (saved(np.zeros(5, [("l", "<f4"), ("r", "<f4")])), 422, "named fields"),
    "NaN": (saved(np.array([0, np.nan], np.float32)), 422, "NaN"),
    "infinite": (saved(np.array([0, -np.inf], np.float32)), 422, "NaN or infinite"),
    "beyond float32": (saved(np.array([0, 1e300])), 422, "beyond"),
    "too loud": (saved(np.array([0, 2e6], np.float32)), 422, "beyond"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejects_other_bodies_with_the_reason(name):
    body, status, text = REJECTED[name]
    with pytest.raises(NpyError) as rejected:
        read_npy(body, LIMIT)
    assert rejected.value.status == status
    assert text in rejected.value.message


def test_large_declared_size_allocates_nothing():
    body = REJECTED["10 GB"][0]
    tracemalloc.start()
    try:
        with pytest.raises(NpyError):
            read_npy(body, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
