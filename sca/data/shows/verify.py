"""The proof of a file of timelines: all speech that the VAD found is labelled, unsure or a reaction of the audience.

The spans of speech are those of the lines or, where recordings are given, those that the VAD finds in them again.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from sca.audio.decode import ACCEPT_ANY_DAMAGE_S, AS_DEFAULT, BlockReader, Reading
from sca.audio.resample import StreamResampler
from sca.data.media.find_audio import AudioFolder
from sca.data.runs.files import input_sha256
from sca.data.runs.progress import ItemProgress, ProgressListener
from sca.data.transcription.coverage import NOTHING, Coverage, coverage_of
from sca.data.transcription.speech import SpeechDetector
from sca.errors import InputError
from sca.timeline import BrokenLine, Show, SpeechEvent, is_unsure, read_shows
from sca.units import HEARD_HZ

__all__ = ["TimelineProof", "verify_timelines"]

_TIME_ERROR_S = 0.0015  # times have three decimals
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class TimelineProof:
    """What a file of timelines holds, and what is wrong with it.

    Attributes:
        shows: Lines that can be read.
        without_speech_spans: Those with lines of older versions, which lack the speech spans.
        speech: Seconds of speech in the other lines, by what the timelines have for it.
        heard: Lines whose speech was detected again.
        problems: What does not hold, one sentence each.
    """

    shows: int
    without_speech_spans: int
    speech: Coverage
    problems: tuple[str, ...]
    heard: int = 0


def verify_timelines(
    path: Path,
    recordings: AudioFolder | None = None,
    reading: Reading = AS_DEFAULT,
    listener: ProgressListener | None = None,
) -> TimelineProof:
    """Check a file that `sca transcribe` wrote.

    Args:
        path: The file.
        recordings: The recordings. Lines without a recording of their content in it are checked without.
        reading: How recordings are read. Its limit of damage is for lines of versions without a digest of the recording;
            any damage of the other recordings was accepted when their lines were made.
        listener: Receives the progress.

    Raises:
        InputError: The file cannot be read.
    """
    shows = without = heard = 0
    total = NOTHING
    problems: list[str] = []
    for _, show in read_shows(path):
        if isinstance(show, BrokenLine):
            problems.append(str(show))
            continue
        shows += 1
        try:
            speech = None if recordings is None else _heard_again(show, recordings, reading, listener)
        except InputError as error:
            advice = f" ({error.hint})" if error.hint else ""
            problems.append(f"{show.video_id}: its recording cannot be read: {error.message}{advice}")
            speech = None
        if speech is not None:
            heard += 1
            show = show.model_copy(update={"speech": speech})
        coverage = coverage_of(show)
        if coverage is None:
            without += 1
            continue
        total += coverage
        problems += [
            f"{show.video_id}: speech at {start:.2f}-{end:.2f} s has no text and is not marked as unsure"
            for start, end in coverage.omitted
        ]
        problems += _lost_words(show)
    return TimelineProof(shows, without, total, tuple(problems), heard)


def _heard_again(
    show: Show, recordings: AudioFolder, reading: Reading, listener: ProgressListener | None
) -> tuple[tuple[float, float], ...] | None:
    """Return where the VAD finds speech in the recording of a line; None if it is not there.

    Raises:
        InputError: The recording cannot be decoded.
    """
    try:
        recording = recordings.of(show)
    except InputError:
        return None
    if show.sha256 is not None:
        if input_sha256(recording) != show.sha256:
            return None
        reading = replace(reading, accept_damage_s=ACCEPT_ANY_DAMAGE_S)
    detector = SpeechDetector()
    with BlockReader(recording, reading=reading) as reader:
        rate_hz = reader.info.rate_hz
        resampler = None if rate_hz == HEARD_HZ else StreamResampler(rate_hz, HEARD_HZ)
        for block in reader:
            detector.push(block if resampler is None else np.clip(resampler.push(block), -1, 1))
            if listener is not None:
                listener.on_progress(ItemProgress(show.video_id, reader.frames / rate_hz, show.duration_s))
    if resampler is not None:
        detector.push(np.clip(resampler.flush(), -1, 1))
    return tuple((round(start / HEARD_HZ, 3), round(end / HEARD_HZ, 3)) for start, end in detector.finish())


def _lost_words(show: Show) -> list[str]:
    """Return the words that are in no event, the first few by name, and events that overlap unsure ones."""
    events = [event for event in show.timeline if isinstance(event, SpeechEvent)]
    starts = [event.start for event in events]
    latest_ends = list(accumulate((event.end for event in events), max))
    problems = []
    for word in show.words:
        middle = (word.start + word.end) / 2
        before = bisect_right(starts, middle + _TIME_ERROR_S) - 1
        if before < 0 or latest_ends[before] < middle - _TIME_ERROR_S:
            problems.append(f"{show.video_id}: the word {word.word!r} at {word.start:.2f} s is in no event")
    more = [f"{show.video_id}: {len(problems) - _MAX_NAMED} more"] if len(problems) > _MAX_NAMED else []
    over = [
        f"{show.video_id}: speech and unsure speech overlap at {other.start:.2f} s"
        for one, other in pairwise(events)
        if is_unsure(one) != is_unsure(other) and one.end - other.start > _TIME_ERROR_S
    ]
    return problems[:_MAX_NAMED] + more + over
