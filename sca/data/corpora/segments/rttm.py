"""RTTM: the turns of the speakers without their words, and the speakers of segments that have no names."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from sca.data.corpora.segments.model import Parsed, Problem, Segment, seconds_of
from sca.data.corpora.text.encoding import lines_of

__all__ = ["UNCLEAR", "Turn", "named_segments", "read_rttm"]


UNCLEAR = ""
"""The speaker of a word during which two speakers talk."""

_SAME_S = 0.02
_CONTINUES_S = 0.5


class Turn(NamedTuple):
    """A turn of a speaker, in seconds."""

    speaker: str
    start_s: float
    end_s: float


def read_rttm(path: Path) -> list[Turn]:
    """Read the turns: `SPEAKER file 1 0.50 3.92 <NA> <NA> nora <NA> <NA>`.

    Raises:
        ValueError: The file cannot be read, or has a line of another shape.
    """
    turns: list[Turn] = []
    for number, line in lines_of(path):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        if len(fields) < 8:
            raise ValueError(f"{path}:{number}: not 'SPEAKER file channel start duration <NA> <NA> speaker'")
        start = seconds_of(fields[3])
        turns.append(Turn(fields[7], start, start + seconds_of(fields[4])))
    return turns


def named_segments(segments: Iterable[Segment | Problem], turns: Sequence[Turn]) -> Parsed:
    """Give each segment without a speaker the one of the turn that it lies in. A segment of words only is split.

    Where two speakers talk, a word belongs to the speaker whose words it continues, since words of one speaker do not
    overlap; otherwise its speaker is `UNCLEAR`. A segment that lies in no turn becomes a problem.
    """
    speakers = _Speakers(turns)
    for segment in segments:
        if isinstance(segment, Problem) or segment.speaker is not None:
            yield segment
        elif segment.text:
            yield _named(segment, speakers.of(segment.start_s, segment.end_s))
        else:
            named = [(speakers.of(word.start_s, word.end_s), word) for word in segment.words]
            for speaker, group in groupby(named, key=lambda entry: entry[0]):
                words = tuple(word for _, word in group)
                part = segment._replace(start_s=words[0].start_s, end_s=words[-1].end_s, words=words)
                yield _named(part, speaker)


def _named(segment: Segment, speaker: str | None) -> Segment | Problem:
    if speaker is None:
        text = segment.text or " ".join(word.text for word in segment.words)
        return Problem(segment.line, f"{text[:40]!r} lies in no turn of the RTTM file")
    return segment._replace(speaker=speaker)


class _Speakers:
    """Finds the speakers of words. Words must be passed in the order of their file."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._last_end_s: dict[str, float] = {}

    def of(self, start_s: float, end_s: float) -> str | None:
        """Return the speaker of the turns with the most overlap, or `UNCLEAR`; None without overlap."""
        shared = [(min(end_s, turn.end_s) - max(start_s, turn.start_s), turn.speaker) for turn in self._turns]
        most = max((overlap for overlap, _ in shared), default=0.0)
        if most <= 0:
            return None
        speakers = {speaker for overlap, speaker in shared if overlap >= most - _SAME_S}
        speaker = speakers.pop() if len(speakers) == 1 else self._continued(speakers, start_s)
        self._last_end_s[speaker] = end_s
        return speaker

    def _continued(self, speakers: set[str], start_s: float) -> str:
        pauses = {speaker: start_s - self._last_end_s.get(speaker, -_CONTINUES_S) for speaker in sorted(speakers)}
        free = {speaker: pause for speaker, pause in pauses.items() if pause >= -_SAME_S}
        if len(free) == 1:
            return next(iter(free))
        nearest = min(free, key=lambda speaker: free[speaker], default=UNCLEAR)
        return nearest if free and free[nearest] < _CONTINUES_S else UNCLEAR
