"""Resampling: preserved and removed frequencies, equal rates, invalid input."""

import numpy as np
import pytest

from sca.audio.resample import StreamResampler, resample


def tone(hz, rate_hz, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz).astype(np.float32)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (44_100, 24_000), (16_000, 24_000), (8_000, 16_000)])
def test_tone_is_preserved(from_hz, to_hz):
    heard, expected = resample(tone(1000, from_hz), from_hz, to_hz), tone(1000, to_hz)
    assert (heard.dtype, len(heard)) == (np.float32, to_hz)
    assert np.abs(heard - expected)[500:-500].max() < 1e-3


def test_frequencies_above_nyquist_are_removed():
    # Both ends are clicks, which contain lower frequencies.
    assert np.abs(resample(tone(10_000, 48_000), 48_000, 16_000)[500:-500]).max() < 1e-5


def test_equal_rates_pass_through():
    x = tone(440, 16_000)
    stream = StreamResampler(16_000, 16_000)
    assert resample(x, 16_000, 16_000) is x
    assert stream.push(x) is x
    assert len(stream.flush()) == 0


def test_flush_resets_the_stream():
    x = tone(440, 48_000, 0.1)
    stream = StreamResampler(48_000, 16_000)
    first = np.concatenate([stream.push(x), stream.flush()])
    second = np.concatenate([stream.push(x), stream.flush()])
    assert np.array_equal(first, second)
    assert len(stream.flush()) == 0


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)])
def test_rejects_non_positive_rates(rates):
    with pytest.raises(ValueError, match="must be positive"):
        StreamResampler(*rates)
    with pytest.raises(ValueError, match="must be positive"):
        resample(np.zeros(1, np.float32), *rates)


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros(4, np.int16), np.zeros((4, 2), np.float32)])
@pytest.mark.parametrize("to_hz", [16_000, 24_000])
def test_rejects_other_dtypes_and_shapes(wrong, to_hz):
    with pytest.raises(ValueError, match="expected float32"):
        resample(wrong, 16_000, to_hz)
    with pytest.raises(ValueError, match="expected float32"):
        StreamResampler(16_000, to_hz).push(wrong)
