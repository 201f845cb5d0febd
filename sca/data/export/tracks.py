"""Whole stored tracks for exports, in blocks."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.storage.tracks import StoredTrack
from sca.errors import InputError
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up

__all__ = ["blocks", "samples_of"]

_BLOCK = 1 << 18


def samples_of(track: StoredTrack) -> int:
    """Length at 24 kHz."""
    return half_up(Fraction(track.record["duration_samples"] * SPOKEN_HZ, HEARD_HZ))


def blocks(track: StoredTrack) -> Iterator[NDArray[np.int16]]:
    """The 24 kHz track as int16, to its end. Raises `InputError` where it cannot be decoded or is not as long as it says."""
    import pyarrow as pa

    name = f"{track.record['session_id']} {track.record['speaker_id']}"
    found = 0
    try:
        with soundfile.SoundFile(pa.BufferReader(track.spoken)) as file:
            while len(block := file.read(_BLOCK, dtype="int16")):
                found += len(block)
                yield block
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{name}: the 24 kHz track cannot be decoded ({error})", hint="sca verify says more"
        ) from error
    if found != samples_of(track):
        raise InputError(
            f"{name}: the 24 kHz track has {counted(found, 'sample')}, not {samples_of(track)}", hint="see sca verify"
        )
