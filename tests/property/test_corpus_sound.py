"""Parts of a recording: a section is that section, and a track and the room without it add up to the recording."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from sca.data.corpora.base import Part
from sca.data.corpora.channel_audio import RAMP_S, PartReader

RATE = 8_000
SECONDS = 3.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    sound = np.random.default_rng(1).uniform(-1, 1, (round(SECONDS * RATE), 2)).astype(np.float32)
    sf.write(path, sound, RATE, subtype="FLOAT")
    return path, sound


def read(path, part, block=777):
    with PartReader(path, part, block) as reader:
        return np.concatenate([*reader, np.zeros(0, np.float32)])


starts = st.floats(0, SECONDS - 0.2)
spans = st.lists(st.tuples(st.floats(0, 2.9), st.floats(0.05, 1.0)), max_size=4)


def apart(pairs):
    """Sorted spans with a pause of two ramps between them."""
    found, earliest = [], 0.0
    for start, length in sorted(pairs):
        if start >= earliest:
            found.append((start, start + length))
            earliest = start + length + 2 * RAMP_S
    return tuple(found)


@given(starts, st.floats(0.01, SECONDS), st.integers(0, 1), st.integers(700, 30_000))
def test_a_section_of_a_channel_is_that_section(recording, start, length, channel, block):
    path, sound = recording
    first = round(start * RATE)
    expected = sound[first : first + round(length * RATE), channel]
    np.testing.assert_array_equal(read(path, Part(channel, start, length), block), expected)


@given(spans.map(apart), starts)
def test_a_track_and_the_room_without_it_are_the_recording(recording, silenced, start):
    path, sound = recording
    track, room = (read(path, Part(0, start, None, silenced, inside)) for inside in (True, False))
    np.testing.assert_allclose(track + room, sound[round(start * RATE) :, 0], atol=1e-6)
    # Away from the ramps each sample is on one of the two alone.
    at = np.arange(len(track)) / RATE
    within = np.zeros(len(track), bool)
    near = np.zeros(len(track), bool)
    for a, b in silenced:
        within |= (at > a) & (at < b)
        near |= (np.abs(at - a) < RAMP_S) | (np.abs(at - b) < RAMP_S)
    assert not room[within & ~near].any()
    assert not track[~within & ~near].any()


def test_samples_that_are_no_numbers_are_counted(tmp_path):
    sf.write(tmp_path / "a.wav", np.array([0.5, np.nan, 0.25], np.float32), RATE, subtype="FLOAT")
    with PartReader(tmp_path / "a.wav") as reader:
        assert [block.tolist() for block in reader] == [[0.5, 0.0, 0.25]]
        assert (reader.non_finite, reader.channels, reader.frames) == (1, 1, 3)
