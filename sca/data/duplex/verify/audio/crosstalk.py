"""Verify the cross-talk of stored tracks: measure it again in the stored audio, and check that silenced spans are silent."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.audio.silence_gate import RAMP
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.model.records import BleedRecord
from sca.data.duplex.storage.records import bleed_record, span_of, speech_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["bleed_problems"]

# Processors can differ in the last bit of a correlation, which can move a window or two across the threshold.
_TOLERANCE_S = 0.6
_TOLERANCE_SHARE = 0.02
_TOLERANCE_DB = 0.5


def bleed_problems(tracks: Sequence[StoredTrack], heard: "Sequence[Path | pa.Buffer]") -> Iterator[str]:
    """Yield what is wrong with the recorded cross-talk between the tracks of a session.

    Args:
        tracks: The tracks.
        heard: The 16 kHz audio of each, as a file or as the content of one.
    """
    speech = [speech_of(track.record) for track in tracks]
    for n, track in enumerate(tracks):
        name = track.record["speaker_id"]
        yield from (f"{name}: {problem}" for problem in _gate_problems(track))
        others = [other for other in range(len(tracks)) if other != n]
        recorded = track.record["bleed"]
        speakers = [bleed["of"] for bleed in recorded]
        if speakers != [tracks[other].record["speaker_id"] for other in others]:
            yield f"{name}: has cross-talk of {speakers} instead of the other speakers"
            continue
        for other, bleed in zip(others, recorded, strict=True):
            found = measure(bleed["of"], _opened(heard[other]), speech[other], _opened(heard[n]), speech[n])
            problem = _difference(bleed, bleed_record(found), gated=bool(track.record["gated"]))
            if problem:
                yield f"{name}: {problem}"


def _opened(audio: "Path | pa.Buffer") -> Path | IO[bytes]:
    import pyarrow as pa

    if isinstance(audio, Path):
        return audio
    content: IO[bytes] = pa.BufferReader(audio)
    return content


def _difference(recorded: BleedRecord, found: BleedRecord, *, gated: bool) -> str | None:
    """Compare a recorded measurement with a new one. A gated track has less cross-talk than was recorded."""
    more = found["bleed_s"] - recorded["bleed_s"]
    allowed = max(_TOLERANCE_S, _TOLERANCE_SHARE * recorded["tried_s"])
    differs = more > allowed if gated else abs(more) > allowed
    if differs or abs(found["tried_s"] - recorded["tried_s"]) > 1e-6:
        return (
            f"contains {found['bleed_s']:.2f} s of {recorded['of']} ({found['tried_s']:.2f} s examined), "
            f"recorded are {recorded['bleed_s']:.2f} s ({recorded['tried_s']:.2f} s examined)"
        )
    levels = found["level_db"], recorded["level_db"]
    if not gated and levels[0] is not None and levels[1] is not None and abs(levels[0] - levels[1]) > _TOLERANCE_DB:
        return f"contains {recorded['of']} at {levels[0]} dB, recorded are {levels[1]} dB"
    return None


def _gate_problems(track: StoredTrack) -> Iterator[str]:
    own = speech_of(track.record)
    for span in track.record["gated"]:
        start, end = span_of(span)
        where = f"from {span['start']:.3f} s to {span['end']:.3f} s"
        if any(a < end and b > start for a, b in own):
            yield f"silenced {where}, where its speaker speaks"
        for audio, rate_hz in ((track.heard, HEARD_HZ), (track.spoken, SPOKEN_HZ)):
            first, last = ((at * rate_hz) // HEARD_HZ for at in (start + RAMP, end - RAMP))
            if np.any(read_samples(audio, first, last - first, rate_hz)):
                yield f"not silent {where} at {rate_hz // 1000} kHz, but should be"
