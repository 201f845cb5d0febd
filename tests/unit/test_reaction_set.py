"""The labelled set of `scripts/make_reaction_set.py`: sounds are where their labels are, and a seed gives the same set."""

import struct
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts import make_reaction_set as reaction_set

HZ = reaction_set.HZ


def tone(hz, seconds):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * HZ)) / HZ).astype(np.float32)


@pytest.fixture
def made():
    """A show whose speech is at 300 Hz, laughter at 2 kHz, applause at 4 kHz and the other sounds at 6 kHz."""
    speech = [0.1 * tone(300, 1.5 + 0.1 * n) for n in range(len(reaction_set.LINES))]
    clips = reaction_set.Clips([tone(2000, 3), tone(2000, 2)], tone(4000, 2), [tone(6000, 1)])
    return lambda seed: reaction_set._show("a", speech, clips, np.random.default_rng(seed))


def level(samples, hz, start, end):
    """Return the level of a frequency in a span, in dB."""
    part = samples[int(start * HZ) : int(end * HZ)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)))) / len(part)
    middle = int(hz * len(part) / HZ)
    return 20 * np.log10(spectrum[middle - 3 : middle + 4].max() + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sounds_are_where_their_labels_are(made, seed):
    samples, show = made(seed)
    assert show.duration_s == pytest.approx(len(samples) / HZ, abs=1e-3)
    kinds = {"laughter": 2000, "applause": 4000}
    events = [event for event in show.timeline if event.role == "audience"]
    assert events
    for event in events:
        hz = kinds[event.reaction_type]
        inside = level(samples, hz, event.start + 0.1, event.end - 0.2)
        others = [other for other in events if other.reaction_type == event.reaction_type and other is not event]
        assert inside > -50
        if all(other.end < event.start - 0.5 for other in others if other.start < event.start):
            assert level(samples, hz, event.start - 0.4, event.start - 0.02) < inside - 15


def test_same_seed_gives_the_same_show(made):
    (one, first), (two, second), (other, _) = made(1), made(1), made(2)
    np.testing.assert_array_equal(one, two)
    assert first == second
    assert len(one) != len(other)


def test_sounds_of_a_bank(tmp_path):
    """OpenTTD's sample file: offsets and lengths first; the highest bit of an offset is the version."""
    sounds, entries = [], []
    for hz in (500, 1000):
        file = BytesIO()
        soundfile.write(file, 0.5 * tone(hz, 0.5), HZ, format="WAV")
        sounds.append(file.getvalue())
    body, at = b"", 16
    for sound in sounds:
        name = b"a name\x00"
        entries.append((at | 0x80000000, len(sound) - 8))
        part = bytes([len(name)]) + name + sound
        body, at = body + part, at + len(part)
    bank = b"".join(struct.pack("<II", *entry) for entry in entries) + body
    for number, hz in enumerate((500, 1000)):
        found = reaction_set._from_bank(bank, number)
        assert np.abs(np.fft.rfft(found)).argmax() * HZ / len(found) == pytest.approx(hz, abs=3)
