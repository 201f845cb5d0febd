"""Known values of the grid, and the errors for invalid grids."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from sca.errors import GridError
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid, encoder_tokens, half_up, samples_to_seconds, seconds_to_samples


def test_default_grid():
    grid = Grid()
    assert grid.chunk_s == Fraction(8, 25)
    assert (grid.heard_samples, grid.spoken_samples, grid.mel_frames) == (5120, 7680, 32)


def test_wider_grid():
    grid = Grid(frames_per_chunk=8)
    assert (float(grid.chunk_s), grid.heard_samples, grid.spoken_samples, grid.mel_frames) == (0.64, 10240, 15360, 64)


@pytest.mark.parametrize(
    ("frame_hz", "frames", "words"),
    [
        (Fraction(0), 4, "frame_hz must be positive, got 0"),
        (Fraction(-25, 2), 4, "frame_hz must be positive, got -12.5"),
        (Fraction(25, 2), 0, "frames_per_chunk must be at least 1, got 0"),
        (Fraction(13), 4, r"4923\.08 samples at 16000 Hz \(input\)"),
        (Fraction(64), 1, r"1\.5625 log-mel frames"),  # 250 samples at 16 kHz, 375 at 24 kHz: both whole
        (Fraction(3200), 1, r"7\.5 samples at 24000 Hz \(output\)"),
        (Fraction(25), 4, "gives 2 encoder tokens, not the 4"),
        (Fraction(25, 2), 13, "gives 14 encoder tokens, not the 13"),
    ],
)
def test_invalid_grid_names_the_number(frame_hz, frames, words):
    with pytest.raises(GridError, match=words) as caught:
        Grid(frame_hz, frames)
    assert caught.value.exit_code == 3


def test_other_rates_are_checked_on_use():
    assert Grid().chunk_samples(48_000) == 15_360
    with pytest.raises(GridError, match=r"14112\.3 samples at 44101 Hz"):
        Grid().chunk_samples(44_101)


def test_grid_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Grid().frames_per_chunk = 8  # type: ignore[misc]


@pytest.mark.parametrize(("samples", "chunks"), [(0, 0), (1, 1), (5119, 1), (5120, 1), (5121, 2), (16_000, 4)])
def test_chunks_hold_all_samples(samples, chunks):
    assert Grid().chunks(samples) == chunks


def test_chunks_at_the_output_rate():
    assert Grid().chunks(7681, SPOKEN_HZ) == 2


# Counted with transformers' own `_get_feat_extract_output_lengths`.
@pytest.mark.parametrize(
    ("frames", "tokens"),
    [(0, 0), (1, 1), (8, 1), (9, 2), (32, 4), (64, 8), (99, 13), (100, 13), (132, 17), (3000, 390)],
)
def test_encoder_tokens(frames, tokens):
    assert encoder_tokens(frames) == tokens


def test_encoder_tokens_rejects_negative_frames():
    with pytest.raises(ValueError, match="-1"):
        encoder_tokens(-1)


@pytest.mark.parametrize(
    ("value", "rounded"), [("1/2", 1), ("3/2", 2), ("5/2", 3), ("-1/2", 0), ("49/100", 0), ("7", 7)]
)
def test_halves_round_up(value, rounded):
    assert half_up(Fraction(value)) == rounded


def test_floats_are_read_as_printed_decimals():
    # As binary numbers, 0.1 is slightly more than a tenth, and 1.00003125 s is slightly off sample 16000.5.
    assert seconds_to_samples(0.1, HEARD_HZ) == seconds_to_samples("0.1", HEARD_HZ) == 1600
    assert seconds_to_samples(1.00003125, HEARD_HZ) == seconds_to_samples("1.00003125", HEARD_HZ) == 16_001
    assert seconds_to_samples(Fraction(1, 3), SPOKEN_HZ) == 8000
    assert samples_to_seconds(5120, HEARD_HZ) == 0.32


def test_numpy_floats_are_floats():
    assert seconds_to_samples(np.float64(0.1), HEARD_HZ) == 1600
