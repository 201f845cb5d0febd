"""Reads whole stored tracks, block by block."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decoder.sndfile import open_stored
from sca.data.duplex.storage.tracks import StoredTrack
from sca.errors import InputError
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up

__all__ = ["track_blocks", "track_samples"]

_BLOCK_SAMPLES = 1 << 18


def track_samples(track: StoredTrack) -> int:
    """Return the length of a track in samples at 24 kHz."""
    return half_up(Fraction(track.record["duration_samples"] * SPOKEN_HZ, HEARD_HZ))


def track_blocks(track: StoredTrack) -> Iterator[NDArray[np.int16]]:
    """Decode the audio of a track at 24 kHz.

    Yields:
        Blocks of int16 samples `(n,)`.

    Raises:
        InputError: The audio cannot be decoded, or its length differs from the track's.
    """
    import pyarrow as pa

    name = f"{track.record['session_id']} {track.record['speaker_id']}"
    decoded = 0
    try:
        with open_stored(pa.BufferReader(track.spoken)) as file:
            while len(block := file.read(_BLOCK_SAMPLES, dtype="int16")):
                decoded += len(block)
                yield block
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{name}: the 24 kHz track cannot be decoded ({error})", hint="sca verify lists all problems"
        ) from error
    if decoded != track_samples(track):
        raise InputError(
            f"{name}: the 24 kHz track has {counted(decoded, 'sample')}, not {track_samples(track)}",
            hint="sca verify lists all problems",
        )
