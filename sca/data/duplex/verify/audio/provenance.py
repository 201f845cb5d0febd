"""Verify the recorded origin of a track against its audio, as far as the audio shows it."""

import re
from collections.abc import Iterator

import numpy as np

from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.verify.audio.stored_audio import MEANS_PER_S, DecodedTrack
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["provenance_problems"]

_FULL_SCALE = 32768
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STEPS = 2
"""Largest difference between the peak of a recording and of audio at its own rate, in 16-bit steps."""
_RAISED, _LOWERED = 1.6, 0.6
"""How far resampling to a higher rate moves a peak at most. A lower rate can remove any part of it."""
_TAIL_MS = 20
"""A resampler's filter still sounds for so long in the padding."""


def provenance_problems(record: TrackRecord, heard: DecodedTrack, spoken: DecodedTrack) -> Iterator[str]:
    """Yield what contradicts the audio in the recorded origin of a track.

    Args:
        record: The track.
        heard: Its audio at 16 kHz.
        spoken: Its audio at 24 kHz.
    """
    provenance = record["provenance"]
    peak, clipped = provenance["peak"], provenance["clipped_samples"]
    if provenance["transcript"] is None and record["words"]:
        yield "has words, but its provenance has no transcript"
    if provenance["transcript"] is not None and record["speech"]:
        yield "has speech found by the VAD, but also a transcript"
    if not _SHA256.fullmatch(provenance["sha256"]):
        yield "the SHA-256 of its recording is not one"
    if provenance["rate_hz"] < 1 or provenance["channels"] < 1:
        yield f"its recording has {provenance['rate_hz']} Hz and {provenance['channels']} channels"
    if not np.isfinite(peak) or min(peak, clipped, provenance["non_finite_samples"]) < 0:
        yield "its peak or a number of samples is negative or not finite"
    elif (clipped > 0) != (peak >= 1 - 1 / _FULL_SCALE):
        yield f"has {clipped} clipped samples, its peak is {peak:.4f}"
    if record["augmented"] is None:
        yield from _peak_problems(record, heard.peak, spoken.peak)
        yield from _padding_problems(record, heard)


def _peak_problems(record: TrackRecord, heard: int, spoken: int) -> Iterator[str]:
    provenance = record["provenance"]
    recorded = min(provenance["peak"] * _FULL_SCALE, _FULL_SCALE)
    low, high = recorded * _LOWERED, recorded * _RAISED
    found = spoken
    if provenance["rate_hz"] in (HEARD_HZ, SPOKEN_HZ):
        found = heard if provenance["rate_hz"] == HEARD_HZ else spoken
        low, high = recorded - _STEPS, recorded + _STEPS
    elif provenance["rate_hz"] > SPOKEN_HZ:
        low = 0
    if record["gated"]:
        low = 0
    if not low - _STEPS <= found <= high + _STEPS:
        yield (
            f"its audio has a peak of {found / _FULL_SCALE:.4f}, "
            f"its recording of {provenance['rate_hz']} Hz has {provenance['peak']:.4f}"
        )


def _padding_problems(record: TrackRecord, heard: DecodedTrack) -> Iterator[str]:
    padded, samples = record["provenance"]["padded_samples"], record["duration_samples"]
    if not 0 <= padded <= samples:
        yield f"has {padded} padded samples of {samples}"
        return
    first = (samples - padded) * MEANS_PER_S // HEARD_HZ + _TAIL_MS
    sound = np.flatnonzero(np.abs(heard.means[first:]) >= 1)
    if len(sound):
        yield f"has sound at {(first + int(sound[0])) / MEANS_PER_S:.3f} s, where it is padded with silence"
