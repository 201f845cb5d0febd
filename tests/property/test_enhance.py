"""Cross-faded blocks: no seam and no lost sample, for any division of the stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.media.enhance import enhanced
from sca.errors import ScaError


def cut(x, sizes):
    at = 0
    for size in sizes:
        yield x[at : at + size]
        at += size
    yield x[at:]


def run(x, enhance, block, overlap, sizes=()):
    pieces = list(enhanced(cut(x, sizes), enhance, block, overlap))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


lengths = st.integers(0, 400)
blocks = st.integers(3, 90).flatmap(lambda block: st.tuples(st.just(block), st.integers(0, (block - 1) // 2)))
cuts = st.lists(st.integers(0, 60), max_size=8)
seeds = st.integers(0, 1000)


@given(lengths, blocks, cuts, seeds)
def test_identity_gives_the_same_samples(length, sizes, cuts, seed):
    x = np.random.default_rng(seed).normal(size=length).astype(np.float32)
    assert np.array_equal(run(x, lambda block: block, *sizes, cuts), x)


@given(lengths, blocks, cuts, seeds)
def test_result_does_not_depend_on_block_boundaries(length, sizes, cuts, seed):
    x = np.random.default_rng(seed).normal(size=length).astype(np.float32)

    def centered(block):  # depends on the whole block, so different blocks give different results
        return block - block.mean(dtype=np.float32)

    whole = run(x, centered, *sizes)
    assert len(whole) == length
    assert np.array_equal(run(x, centered, *sizes, cuts), whole)


@given(st.integers(100, 400), seeds)
def test_cross_fade_has_no_jump(length, seed):
    """The overlap of two blocks of different levels changes in steps no larger than its slope."""
    level = iter(np.random.default_rng(seed).choice([0.0, 1.0], size=100).astype(np.float32))
    found = run(np.zeros(length, np.float32), lambda block: np.full_like(block, next(level)), 50, 20)
    assert np.abs(np.diff(found)).max() <= 1 / 20 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


def test_enhancer_that_loses_samples_is_an_error():
    with pytest.raises(ScaError, match=r"made float32 \(9,\) of float32 \(10,\)"):
        run(np.zeros(10, np.float32), lambda block: block[1:], 20, 5)
    with pytest.raises(ValueError, match="under half a block"):
        run(np.zeros(10, np.float32), lambda block: block, 20, 10)
