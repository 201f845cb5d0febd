"""Speech of one speaker alone and overlapping speech, from turns that may overlap. Times are seconds."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from sca.timeline import SpeakerTurn

__all__ = ["Spans", "Speaking", "alone", "overlaps", "speaking", "within"]

Spans: TypeAlias = tuple[tuple[float, float], ...]

_MARGIN_S = 0.15  # sounds at the edges of speech that the VAD does not find
_SHORTEST_GAP_S = 0.1


class Speaking(NamedTuple):
    """A stretch, and the speakers that talk during all of it."""

    start_s: float
    end_s: float
    speakers: frozenset[str]


def speaking(turns: Iterable[SpeakerTurn], seconds: float) -> list[Speaking]:
    """Return the stretches with speech, sorted and disjoint.

    Args:
        turns: The turns.
        seconds: The length of the recording.
    """
    changes = sorted(
        (min(time, seconds), is_start, turn.speaker)
        for turn in turns
        for time, is_start in ((turn.start, True), (turn.end, False))
    )
    found: list[Speaking] = []
    talking: dict[str, int] = {}
    before = 0.0
    for time, is_start, speaker in changes:
        active = frozenset(name for name, count in talking.items() if count)
        if active and time > before:
            if found and found[-1].end_s == before and found[-1].speakers == active:
                found[-1] = found[-1]._replace(end_s=time)
            else:
                found.append(Speaking(before, time, active))
        talking[speaker] = talking.get(speaker, 0) + (1 if is_start else -1)
        before = time
    return found


def alone(stretches: Sequence[Speaking], speaker: str, seconds: float) -> Spans:
    """Return where a speaker talks alone, a little wider next to silence.

    Args:
        stretches: What `speaking` returned.
        speaker: The speaker.
        seconds: The length of the recording.
    """
    spans: list[tuple[float, float]] = []
    for n, stretch in enumerate(stretches):
        if stretch.speakers != {speaker}:
            continue
        earliest = stretches[n - 1].end_s if n else 0.0
        latest = stretches[n + 1].start_s if n + 1 < len(stretches) else seconds
        start = max(stretch.start_s - _MARGIN_S, (earliest + stretch.start_s) / 2 if n else 0.0, 0.0)
        end = min(stretch.end_s + _MARGIN_S, (stretch.end_s + latest) / 2 if n + 1 < len(stretches) else seconds)
        if (
            spans
            and start - spans[-1][1] < _SHORTEST_GAP_S
            and not within((spans[-1][1] + start) / 2, overlaps(stretches))
        ):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return tuple(spans)


def overlaps(stretches: Iterable[Speaking]) -> Spans:
    """Return where several speakers talk, sorted and disjoint."""
    spans: list[tuple[float, float]] = []
    for stretch in stretches:
        if len(stretch.speakers) < 2:
            continue
        if spans and spans[-1][1] == stretch.start_s:
            spans[-1] = (spans[-1][0], stretch.end_s)
        else:
            spans.append((stretch.start_s, stretch.end_s))
    return tuple(spans)


def within(time_s: float, spans: Iterable[tuple[float, float]]) -> bool:
    """Return whether a time is in one of the spans."""
    return any(start <= time_s < end for start, end in spans)
