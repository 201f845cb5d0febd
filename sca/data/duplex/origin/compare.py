"""Compare stored tracks with those that the corpus gives: recordings, words and times, samples."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from sca.audio.decoder.sndfile import open_stored
from sca.config import Settings
from sca.data.duplex.evidence.overlap import length_of, subtract
from sca.data.duplex.model.records import TrackRecord, WordRecord
from sca.data.duplex.storage.records import span_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.spans import merge_spans
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["track_problems"]

_STEP = 1
"""Processors can differ in the last bit of a resampled sample, which can round it to the next 16-bit step."""
_SPEECH_TOLERANCE = seconds_to_samples(0.6, HEARD_HZ)
_BLOCK_S = 10


def track_problems(stored: Sequence[StoredTrack], given: Sequence[StoredTrack], settings: Settings) -> Iterator[str]:
    """Yield where the tracks of a session differ from those that its corpus gives.

    Args:
        stored: The tracks of the data set.
        given: The tracks that were made from the corpus, with interpolated times where the corpus has none.
        settings: The settings of the data set.
    """
    names, expected = ([track.record["speaker_id"] for track in tracks] for tracks in (stored, given))
    if names != expected:
        yield f"has the speakers {', '.join(names)}, the corpus {', '.join(expected)}"
        return
    for name, ours, theirs in zip(names, stored, given, strict=True):
        yield from (f"{name}: {problem}" for problem in _record_problems(ours.record, theirs.record, settings))
        for rate_hz, a, b in ((HEARD_HZ, ours.heard, theirs.heard), (SPOKEN_HZ, ours.spoken, theirs.spoken)):
            if a.size and (problem := _samples_problem(a, b, rate_hz)):
                yield f"{name}: {problem}"


def _record_problems(stored: TrackRecord, given: TrackRecord, settings: Settings) -> Iterator[str]:
    recorded: Mapping[str, object] = {**stored["provenance"]}
    for field, value in given["provenance"].items():
        # A field that is absent belongs to a later version.
        if field in recorded and recorded[field] != value:
            yield f"its provenance has {field} {recorded[field]!r}, the corpus gives {value!r}"
    if stored["duration_samples"] != given["duration_samples"]:
        samples = counted(stored["duration_samples"], "sample")
        yield f"has {samples}, the recordings give {given['duration_samples']}"
    if stored["gated"] != given["gated"]:
        yield f"is silenced in {len(stored['gated'])} places, the recordings give {len(given['gated'])}"
    ours, theirs = (merge_spans(map(span_of, record["speech"])) for record in (stored, given))
    different = length_of(subtract(ours, theirs)) + length_of(subtract(theirs, ours))
    if different > _SPEECH_TOLERANCE:
        yield f"its speech differs from that of the recording for {different / HEARD_HZ:.2f} s"
    if problem := _words_problem(stored["words"], given["words"], settings.duplex.align):
        yield problem


def _words_problem(stored: Sequence[WordRecord], given: Sequence[WordRecord], method: str) -> str | None:
    """Return the first difference between stored words and those of the transcript, or None."""
    earliest = 0.0
    for number, (word, expected) in enumerate(zip_longest(stored, given)):
        if word is None or expected is None:
            return f"has {counted(len(stored), 'word')}, its transcript gives {len(given)}"
        if not _same_word(word, expected, earliest, method):
            return f"word {number} is {_text(word)}, its transcript gives {_text(expected)}"
        earliest = word["start"]
    return None


def _same_word(word: WordRecord, expected: WordRecord, earliest: float, method: str) -> bool:
    """Compare a word. Times that a model aligned are not compared, because the model is not run again."""
    if method == "interpolate":
        return word == expected
    if word["word"] != expected["word"]:
        return False
    if expected["source"] != "given":
        return word["source"] in (method, "interpolated")
    # An aligned word before it can end late; onsets do not decrease.
    start = max(expected["start"], earliest)
    return word["source"] == "given" and (word["start"], word["end"]) == (start, max(expected["end"], start))


def _text(word: WordRecord) -> str:
    return f"{word['word']!r} from {word['start']:.3f} s to {word['end']:.3f} s ({word['source']}, unit {word['unit']})"


def _samples_problem(stored: "pa.Buffer", given: "pa.Buffer", rate_hz: int) -> str | None:
    """Compare two audio files sample for sample, in blocks; files that cannot be decoded are reported elsewhere."""
    import pyarrow as pa

    differ = position = 0
    first: int | None = None
    try:
        with open_stored(pa.BufferReader(stored)) as a, open_stored(pa.BufferReader(given)) as b:
            if a.channels != 1 or a.frames != b.frames:
                return None
            while len(ours := a.read(_BLOCK_S * rate_hz, dtype="int16")):
                theirs = b.read(len(ours), dtype="int16")
                places = np.flatnonzero(np.abs(ours.astype(np.int32) - theirs) > _STEP)
                if len(places) and first is None:
                    first = position + int(places[0])
                differ += len(places)
                position += len(ours)
    except (soundfile.LibsndfileError, RuntimeError, ValueError):
        return None
    if first is None:
        return None
    return (
        f"the {rate_hz // 1000} kHz track is not its recording in {differ} of {position} samples, "
        f"the first at {first / rate_hz:.3f} s"
    )
