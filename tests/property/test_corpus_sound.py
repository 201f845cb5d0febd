"""Parts of a recording: sections of channels, and two complementary parts that add up to the recording."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from sca.data.corpora.base import Part
from sca.data.duplex.audio.channel_audio import RAMP_S, PartReader
from sca.units import seconds_to_samples

RATE = 8_000
SECONDS = 3.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    sound = np.random.default_rng(1).uniform(-1, 1, (int(SECONDS * RATE), 2)).astype(np.float32)
    sf.write(path, sound, RATE, subtype="FLOAT")
    return path, sound


def read(path, part, block=777):
    with PartReader(path, part, block) as reader:
        return np.concatenate([*reader, np.zeros(0, np.float32)])


starts = st.floats(0, SECONDS - 0.2)
spans = st.lists(st.tuples(st.floats(0, 2.9), st.floats(0.05, 1.0)), max_size=4)


def disjoint(pairs):
    """Return the spans that start two ramps or more after the previous one."""
    found, earliest = [], 0.0
    for start, length in sorted(pairs):
        if start >= earliest:
            found.append((start, start + length))
            earliest = start + length + 2 * RAMP_S
    return tuple(found)


@given(starts, st.floats(0.01, SECONDS), st.integers(0, 1), st.integers(700, 30_000))
def test_part_is_a_section_of_a_channel(recording, start, length, channel, block):
    path, sound = recording
    first = seconds_to_samples(start, RATE)
    expected = sound[first : first + seconds_to_samples(length, RATE), channel]
    np.testing.assert_array_equal(read(path, Part(channel, start, length), block), expected)


@given(spans.map(disjoint), starts)
def test_complementary_parts_add_up_to_the_recording(recording, silenced, start):
    path, sound = recording
    track, rest = (read(path, Part(0, start, None, silenced, inside)) for inside in (True, False))
    np.testing.assert_allclose(track + rest, sound[seconds_to_samples(start, RATE) :, 0], atol=1e-6)
    # Away from the ramps each sample is in one of the two parts only.
    at = np.arange(len(track)) / RATE
    within = np.zeros(len(track), bool)
    near = np.zeros(len(track), bool)
    for a, b in silenced:
        within |= (at > a) & (at < b)
        near |= (np.abs(at - a) < RAMP_S) | (np.abs(at - b) < RAMP_S)
    assert not rest[within & ~near].any()
    assert not track[~within & ~near].any()


def test_counts_nan_samples(tmp_path):
    sf.write(tmp_path / "a.wav", np.array([0.5, np.nan, 0.25], np.float32), RATE, subtype="FLOAT")
    with PartReader(tmp_path / "a.wav") as reader:
        assert [block.tolist() for block in reader] == [[0.5, 0.0, 0.25]]
        assert (reader.non_finite, reader.channels, reader.frames) == (1, 1, 3)
