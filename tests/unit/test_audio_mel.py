"""The log-mel: shapes, silence and invalid input. Its values are tested in golden/ and integration/."""

import numpy as np
import pytest

from sca.audio.mel import MEL_BINS, log_mel, mel_filters
from sca.units import Grid


def test_grid_chunk_has_its_frames():
    grid = Grid()
    mel = log_mel(np.zeros(grid.heard_samples, np.float32))
    assert (mel.shape, mel.dtype) == ((MEL_BINS, grid.mel_frames), np.float32)


def test_batch_has_one_more_dimension():
    assert log_mel(np.zeros((3, 5120), np.float32)).shape == (3, 128, 32)
    assert log_mel(np.zeros((0, 5120), np.float32)).shape == (0, 128, 32)


def test_silence_is_the_floor():
    assert np.abs(log_mel(np.zeros(5120, np.float32)) + 1.5).max() < 1e-6


def test_range_is_80_decibels_below_the_loudest_bin():
    mel = log_mel(np.sin(2 * np.pi * 1000 * np.arange(5120) / 16_000).astype(np.float32))
    assert mel.max() - mel.min() == pytest.approx(2.0, abs=1e-6)


def test_loud_item_does_not_affect_others():
    rng = np.random.default_rng(0)
    quiet = (rng.standard_normal(5120) * 1e-4).astype(np.float32)
    loud = rng.standard_normal(5120).astype(np.float32)
    assert np.array_equal(log_mel(np.stack([loud, quiet]))[1], log_mel(quiet))


def test_input_is_unchanged_and_may_be_strided():
    x = np.random.default_rng(0).standard_normal((5120, 2)).astype(np.float32)
    before = x.copy()
    assert np.array_equal(log_mel(x.T), log_mel(np.ascontiguousarray(x.T)))
    assert np.array_equal(x, before)
    x.flags.writeable = False
    log_mel(x[:, 0])


def test_each_filter_has_unit_area():
    filters = mel_filters()
    assert filters.shape == (201, 128)
    assert (filters >= 0).all()
    # Bins are 40 Hz apart, which is too coarse to sum the area of the narrow filters.
    assert np.abs(filters.sum(axis=0)[64:] * 40 - 1).max() < 0.1


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("shape", [(9, 5120), (480_000,)])
def test_products_are_too_small_for_blas_threads(monkeypatch, shape, bins):
    product, sizes = np.matmul, []

    def counted(a, b, **options):
        sizes.append(a.shape[0] * a.shape[1] * b.shape[-1])
        return product(a, b, **options)

    monkeypatch.setattr(np, "matmul", counted)
    log_mel(np.ones(shape, np.float32), bins)
    assert 0 < max(sizes) <= 65536 * 4, "OpenBLAS's own limit"


@pytest.mark.parametrize("samples", [0, 160])
def test_rejects_input_shorter_than_the_edges(samples):
    with pytest.raises(ValueError, match=f"at least 201 samples, got {samples}"):
        log_mel(np.zeros(samples, np.float32))


@pytest.mark.parametrize("samples", [201, 5119, 5121])
def test_rejects_partial_frames(samples):
    with pytest.raises(ValueError, match=f"a multiple of 160 samples, got {samples}"):
        log_mel(np.zeros((2, samples), np.float32))


@pytest.mark.parametrize("wrong", [np.zeros(5120), np.zeros(5120, np.int16), np.zeros((1, 1, 5120), np.float32)])
def test_rejects_other_dtypes_and_shapes(wrong):
    with pytest.raises(ValueError, match="expected float32"):
        log_mel(wrong)
