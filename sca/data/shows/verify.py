"""The proof of a file of timelines: all speech that the VAD found is labelled, unsure or a reaction of the audience."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from sca.data.transcription.coverage import NOTHING, Coverage, coverage_of
from sca.timeline import BrokenLine, Show, SpeechEvent, is_unsure, read_shows

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
        problems: What does not hold, one sentence each.
    """

    shows: int
    without_speech_spans: int
    speech: Coverage
    problems: tuple[str, ...]


def verify_timelines(path: Path) -> TimelineProof:
    """Check a file that `sca transcribe` wrote.

    Args:
        path: The file.

    Raises:
        InputError: The file cannot be read.
    """
    shows = without = 0
    total = NOTHING
    problems: list[str] = []
    for _, show in read_shows(path):
        if isinstance(show, BrokenLine):
            problems.append(str(show))
            continue
        shows += 1
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
    return TimelineProof(shows, without, total, tuple(problems))


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
