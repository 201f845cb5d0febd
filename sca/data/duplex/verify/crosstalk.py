"""The proof of what a track says of bleed: measured again in the stored audio, and silent where it says it was silenced."""

from collections.abc import Iterator, Sequence

import numpy as np

from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.audio.silence_gate import RAMP
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.storage.records import bleed_record, speech_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["bleed_problems"]

# Two processors need not agree on the last bit of a correlation, so a window or two may fall to the other side.
_NEAR_S = 0.6
_NEAR_SHARE = 0.02
_NEAR_DB = 0.5


def bleed_problems(tracks: Sequence[StoredTrack]) -> Iterator[str]:
    """What is wrong with the bleed that the tracks of a session tell of."""
    for track in tracks:
        name = track.record["speaker_id"]
        yield from (f"{name}: {line}" for line in _gated(track))
        others = [other for other in tracks if other is not track]
        said = track.record["bleed"]
        if [one["of"] for one in said] != [other.record["speaker_id"] for other in others]:
            yield f"{name}: bleed is told of {[one['of'] for one in said]}, not of the other speakers"
            continue
        for other, one in zip(others, said, strict=True):
            found = _measured(other, track)
            more = found["bleed_s"] - one["bleed_s"]
            far = max(_NEAR_S, _NEAR_SHARE * one["tried_s"])
            wrong = more > far if track.record["gated"] else abs(more) > far
            if wrong or abs(found["tried_s"] - one["tried_s"]) > 1e-6:
                yield (
                    f"{name}: has {found['bleed_s']:.2f} s of {one['of']} in it ({found['tried_s']:.2f} s tried), "
                    f"said are {one['bleed_s']:.2f} s ({one['tried_s']:.2f} s)"
                )
            elif not track.record["gated"] and _levels_differ(found["level_db"], one["level_db"]):
                yield f"{name}: has {one['of']} in it at {found['level_db']} dB, said are {one['level_db']} dB"


def _measured(other: StoredTrack, track: StoredTrack) -> dict[str, float]:
    import pyarrow as pa

    of = other.record["speaker_id"]
    cells = pa.BufferReader(other.heard), pa.BufferReader(track.heard)
    return bleed_record(measure(of, cells[0], speech_of(other.record), cells[1], speech_of(track.record)))


def _levels_differ(found: float | None, said: float | None) -> bool:
    return found is not None and said is not None and abs(found - said) > _NEAR_DB


def _gated(track: StoredTrack) -> Iterator[str]:
    own = speech_of(track.record)
    for span in track.record["gated"]:
        start, end = round(span["start"] * HEARD_HZ), round(span["end"] * HEARD_HZ)
        if any(a < end and b > start for a, b in own):
            yield f"silenced from {span['start']:.3f} s to {span['end']:.3f} s, where its speaker speaks"
        for audio, rate in ((track.heard, HEARD_HZ), (track.spoken, SPOKEN_HZ)):
            first, last = ((at * rate) // HEARD_HZ for at in (start + RAMP, end - RAMP))
            if np.any(read_samples(audio, first, last - first, rate)):
                yield f"not silent from {span['start']:.3f} s to {span['end']:.3f} s at {rate // 1000} kHz, and should be"
