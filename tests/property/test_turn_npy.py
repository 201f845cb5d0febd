"""Any bytes are either audio or rejected with a status below 500, without memory leaks."""

import gc
import io
import random
import struct
import tracemalloc

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sca.infer.turn.serving.npy import NpyError, read_npy

LIMIT = 1 << 16


def saved(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, x, allow_pickle=False)
    return out.getvalue()


dtypes = st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes(), hnp.complex_number_dtypes())
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)).map(saved)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file with bytes changed, removed or inserted."""
    body = bytearray(draw(arrays))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        kind = draw(st.sampled_from(["change", "cut", "insert", "end"]))
        if kind == "change" and at < len(body):
            body[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del body[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            body[at:at] = draw(st.binary(max_size=40))
        else:
            del body[at:]
    return bytes(body)


@st.composite
def headed(draw: st.DrawFn) -> bytes:
    """A header of valid and invalid parts."""
    descrs = ["'<f4'", "'|O'", "'>i2'", "'<f8'", "[('a', 'O')]", "'" * 3, "1e9", "x()"]
    shapes = ["(3,)", "(0,)", "(2, 3)", "(-1,)", "()", "(99999999999999999999,)", "(2500000000,)", "('x',)", "((1,),)"]
    values = st.sampled_from([*descrs, *shapes, "False", "True", "None", "{}"])
    keys = st.sampled_from(["'descr'", "'fortran_order'", "'shape'", "'x'", "descr", '"shape"'])
    entries = draw(st.lists(st.tuples(keys, values), max_size=5))
    text = "{" + ", ".join(f"{key}: {value}" for key, value in entries) + draw(st.sampled_from(["}", ", }", "", "}}"]))
    major = draw(st.sampled_from([1, 2, 3]))
    size = struct.pack("<H" if major == 1 else "<I", draw(st.sampled_from([len(text), 0, 65535])))
    return b"\x93NUMPY" + bytes([major, 0]) + size + text.encode() + draw(st.binary(max_size=30))


bodies = st.one_of(st.binary(max_size=300), arrays, damaged(), headed())

SEEDS = [
    saved(np.zeros(shape, dtype)) for shape in [(9,), (1, 9), (4, 2), (0,)] for dtype in ("<f4", ">f8", "<i2", "<u2")
]


def mutant(chance: random.Random) -> bytes:
    """Return a valid file with a few bytes changed, duplicated or removed. Faster than `damaged`, for many files."""
    body = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(body) + 1)
        match chance.randrange(5):
            case 0:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                body[at : at + 1] = chance.choice(b"0123456789(),'{}:<>|fiO ").to_bytes()
            case 2:
                del body[at : at + chance.randint(1, 20)]
            case 3:
                body[at:at] = body[at : at + chance.randint(1, 20)]
            case 4:
                del body[max(at, 1) :]
    return bytes(body)


@settings(max_examples=500)
@given(st.integers(0, 2**64).map(random.Random))
def test_damaged_files_are_audio_or_rejected(chance):
    for _ in range(20):
        check_outcome(mutant(chance))


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(bodies)
def test_any_body_is_audio_or_rejected(body):
    check_outcome(body)


def outcome(body: bytes) -> np.ndarray | NpyError:
    try:
        return read_npy(body, LIMIT)
    except NpyError as error:
        return error


def check_outcome(body: bytes) -> None:
    found = outcome(body)
    if isinstance(found, NpyError):
        assert found.status in (400, 413, 422)
        assert len(found.message) < 300
    else:
        assert found.dtype == np.float32
        assert found.ndim == 1
        assert len(found) >= 1
        assert np.isfinite(found).all()


@settings(max_examples=300)
@given(hnp.arrays(np.float32, st.integers(1, 500), elements=st.floats(-1, 1, width=32)), st.sampled_from("<>"))
def test_reads_what_numpy_saved(x, order):
    assert np.array_equal(read_npy(saved(x.astype(f"{order}f4")), LIMIT), x)


def test_rejections_do_not_leak_memory():
    body = (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 60)
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,)}".ljust(60)
    )

    def refuse(times: int) -> None:
        for i in range(times):
            assert isinstance(outcome(body + bytes(i % 36)), NpyError)

    refuse(500)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        refuse(5000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
