"""Defects that the benches inject into the stored tracks of good data."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import soundfile as sf

from sca.data.duplex.model.records import TrackRecord
from sca.units import HEARD_HZ

Tracks = tuple[list[TrackRecord], list[pa.Buffer]]


def moved(tracks: Tracks, time: Callable[[float], float], only: Sequence[int] = (0, 1)) -> Tracks:
    """Change the times of the words of some tracks."""
    records, audio = tracks
    for number in only:
        for word in records[number]["words"]:
            word["start"], word["end"] = time(word["start"]), time(word["end"])
    return records, audio


def encoded(samples: np.ndarray) -> pa.Buffer:
    """Encode samples as a stored track."""
    file = io.BytesIO()
    sf.write(file, samples, HEARD_HZ, subtype="PCM_16", format="FLAC")
    return pa.py_buffer(file.getvalue())


def decoded(cell: pa.Buffer) -> np.ndarray:
    """Decode a stored track."""
    return np.asarray(sf.read(pa.BufferReader(cell), dtype="float32")[0])


def half(tracks: Tracks) -> Tracks:
    """Leave out every second utterance of the first speaker."""
    records, audio = tracks
    records[0]["words"] = [word for word in records[0]["words"] if word["unit"] % 2 == 0]
    return records, audio


def noise(tracks: Tracks) -> Tracks:
    """Replace the first recording by noise."""
    records, audio = tracks
    sound = np.random.default_rng(0).normal(0, 0.05, len(decoded(audio[0])))
    return records, [encoded(sound), *audio[1:]]


def mixed(tracks: Tracks) -> Tracks:
    """Put the mix of the recordings on both tracks."""
    records, audio = tracks
    mix = encoded(sum(map(decoded, audio)) / len(audio))
    return records, [mix] * len(audio)


def swapped(tracks: Tracks) -> Tracks:
    """Exchange the recordings."""
    return tracks[0], tracks[1][::-1]
