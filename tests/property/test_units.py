"""Arithmetic of the grid, for any numbers."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.errors import GridError
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid, encoder_tokens, half_up, samples_to_seconds, seconds_to_samples

rates = st.sampled_from([8000, HEARD_HZ, SPOKEN_HZ, 44_100, 48_000])
samples = st.integers(0, 48_000 * 3600 * 24)


@given(st.fractions())
def test_half_up_is_the_nearest_integer(value):
    assert -Fraction(1, 2) < half_up(value) - value <= Fraction(1, 2)


@given(samples, rates)
def test_samples_survive_seconds(count, rate_hz):
    assert seconds_to_samples(samples_to_seconds(count, rate_hz), rate_hz) == count


@given(st.floats(0, 1e6), rates)
def test_text_and_float_are_equal(seconds, rate_hz):
    assert seconds_to_samples(seconds, rate_hz) == seconds_to_samples(repr(seconds), rate_hz)


@given(st.integers(-2, 48_000 * 3600 * 24), st.integers(-3, 3), rates)
def test_floats_near_the_middle_of_two_samples_are_exact(count, steps, rate_hz):
    seconds = (count + 0.5) / rate_hz
    for _ in range(abs(steps)):
        seconds = math.nextafter(seconds, math.copysign(math.inf, steps))
    assert seconds_to_samples(seconds, rate_hz) == half_up(Fraction(repr(seconds)) * rate_hz)


@given(st.floats(0, 1e5), st.floats(0, 1e5), rates)
def test_conversion_is_monotonic(one, other, rate_hz):
    first, last = sorted((one, other))
    assert seconds_to_samples(first, rate_hz) <= seconds_to_samples(last, rate_hz)


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_encoder_tokens_of_whole_pieces_add_up(pieces, rest):
    assert encoder_tokens(100 * pieces + rest) == 13 * pieces + encoder_tokens(rest)


@given(st.integers(0, 100_000))
def test_encoder_tokens_grow_by_steps_of_one(frames):
    assert encoder_tokens(frames + 1) - encoder_tokens(frames) in (0, 1)


@given(st.integers(1, 400), st.integers(1, 60))
def test_grid_is_valid_where_encoder_tokens_match(mel_frames, frames):
    frame_hz = Fraction(100 * frames, mel_frames)
    if encoder_tokens(mel_frames) != frames:
        with pytest.raises(GridError, match="encoder tokens"):
            Grid(frame_hz, frames)
        return
    grid = Grid(frame_hz, frames)
    assert grid.mel_frames == mel_frames
    assert (grid.heard_samples, grid.spoken_samples) == (160 * mel_frames, 240 * mel_frames)
    assert grid.chunk_s * frame_hz == frames


@given(st.fractions(min_value=Fraction(1, 10), max_value=200), st.integers(1, 64))
def test_any_grid_divides_or_raises_grid_error(frame_hz, frames):
    try:
        grid = Grid(frame_hz, frames)
    except GridError:
        return
    assert grid.heard_samples * frame_hz == frames * HEARD_HZ


@pytest.mark.parametrize("frames", range(1, 13))
@given(count=samples)
def test_chunks_cover_with_less_than_one_spare(frames, count):
    grid = Grid(frames_per_chunk=frames)
    for rate_hz in (HEARD_HZ, SPOKEN_HZ):
        chunks = grid.chunks(count, rate_hz)
        assert chunks == math.ceil(count / Fraction(grid.chunk_samples(rate_hz)))
        assert 0 <= chunks * grid.chunk_samples(rate_hz) - count < grid.chunk_samples(rate_hz)
