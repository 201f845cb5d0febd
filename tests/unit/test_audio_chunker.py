"""Chunks: their shape, the padding at the end, and invalid input."""

import numpy as np
import pytest

from sca.audio.chunker import Chunker, split


def ramp(samples):
    return np.arange(1, samples + 1, dtype=np.float32)


def test_last_chunk_is_padded_with_zeros():
    assert split(ramp(5), 3).tolist() == [[1, 2, 3], [4, 5, 0]]


def test_empty_input_makes_no_chunk():
    assert split(ramp(0), 3).shape == (0, 3)
    assert Chunker(3).push(ramp(0)) == []
    assert Chunker(3).flush() is None


def test_whole_chunks_are_views():
    x = ramp(6)
    assert np.shares_memory(split(x, 3), x)


def test_chunks_are_returned_when_full():
    chunker = Chunker(3)
    assert chunker.push(ramp(2)) == []
    assert chunker.pending == 2
    chunks = chunker.push(ramp(5))
    assert [chunk.tolist() for chunk in chunks] == [[1, 2, 1], [2, 3, 4]]
    assert all(chunk.dtype == np.float32 and chunk.shape == (3,) for chunk in chunks)
    assert chunker.pending == 1
    assert chunker.flush().tolist() == [5, 0, 0]
    assert (chunker.pending, chunker.flush()) == (0, None)


def test_flush_resets_the_stream():
    chunker = Chunker(3)
    chunker.push(ramp(4))
    chunker.flush()
    assert chunker.push(ramp(3))[0].tolist() == [1, 2, 3]


def test_chunks_do_not_alias_the_block():
    block = ramp(7)
    chunker = Chunker(3)
    chunks = chunker.push(block)
    block[:] = 0
    assert [chunk.tolist() for chunk in chunks] == [[1, 2, 3], [4, 5, 6]]
    chunks[0][:] = 9
    assert chunks[1].tolist() == [4, 5, 6]
    assert chunker.flush().tolist() == [7, 0, 0]


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros(4, np.int16), np.zeros((2, 2), np.float32), np.float32(0)])
def test_rejects_other_dtypes_and_shapes(wrong):
    with pytest.raises(ValueError, match=r"expected float32 \(n,\), got"):
        split(np.asarray(wrong), 2)
    with pytest.raises(ValueError, match=r"expected float32 \(n,\), got"):
        Chunker(2).push(np.asarray(wrong))


def test_rejects_empty_chunks():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Chunker(0)
    with pytest.raises(ValueError, match="at least 1, got -1"):
        split(ramp(1), -1)
