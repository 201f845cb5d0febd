"""Place turns on the time line of a conversation: gaps, overlaps, interruptions, backchannels. No audio is involved.

Positions are samples. The end of a turn is the end of its last word.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Generic, TypeVar

from sca.synth.script import Kind, ScriptTurn
from sca.synth.timing import Distribution, Timing
from sca.units import seconds_to_samples

__all__ = ["Placed", "Sounding", "schedule"]

_LEAD_IN_S = 0.5
_REST_S = 0.1
"""The shortest silence of a speaker between two of their turns."""
_ANSWER_AFTER_S, _ANSWER_BEFORE_S = 0.8, 0.3
"""A backchannel begins this long after a turn began, and ends this long before it ends."""
_FIRST_CUT_WORD = 1
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Sounding:
    """A turn with the times of its words.

    Attributes:
        turn: The turn.
        words: Start and end of every word, from the start of the turn; at least one. The first word starts at 0.
    """

    turn: ScriptTurn
    words: tuple[tuple[int, int], ...]

    @property
    def samples(self) -> int:
        """The length."""
        return self.words[-1][1]


Turn = TypeVar("Turn", bound=Sounding)


@dataclass(frozen=True, slots=True)
class Placed(Generic[Turn]):
    """A turn on the time line.

    Attributes:
        sounding: The turn.
        kind: What it turned out to do; a turn may have been drawn as an interruption.
        start: Where it starts.
        end: Where its last spoken word ends.
        words: How many of its words are spoken: fewer than it has if it was interrupted.
        over: The index of the turn that it follows, interrupts or answers; None for the first one.
    """

    sounding: Turn
    kind: Kind
    start: int
    end: int
    words: int
    over: int | None = None


@dataclass(slots=True)
class _Line(Generic[Turn]):
    """The time line while it is filled."""

    timing: Timing
    random: Random
    rate_hz: int
    placed: list[Placed[Turn]] = field(default_factory=list)
    floor: int | None = None
    free: list[int] = field(default_factory=lambda: [0, 0])
    owed: float = 0.0

    def samples(self, seconds: float) -> int:
        return seconds_to_samples(seconds, self.rate_hz)

    def draw(self, distribution: Distribution, longest: float = math.inf) -> int:
        """Return a random time in samples, at most `longest`."""
        for _ in range(_ATTEMPTS):
            value = self.samples_signed(distribution.draw(self.random))
            if value <= longest:
                return value
        return int(longest)

    def samples_signed(self, seconds: float) -> int:
        return self.samples(seconds) if seconds >= 0 else -self.samples(-seconds)

    def put(self, sounding: Turn, kind: Kind, start: int, over: int | None) -> None:
        end = start + sounding.samples
        self.placed.append(Placed(sounding, kind, start, end, len(sounding.words), over))
        self.free[sounding.turn.speaker] = end + self.samples(_REST_S)


def schedule(
    turns: Sequence[Turn],
    timing: Timing,
    random: Random,
    rate_hz: int,
    backchannel: Callable[[int], Turn] | None = None,
) -> list[Placed[Turn]]:
    """Place the turns of a conversation.

    Args:
        turns: The turns in the order of the script.
        timing: The distributions.
        random: The source of the draws.
        rate_hz: The rate of the samples.
        backchannel: Returns a backchannel of a speaker, for those that the script does not have. None adds none.

    Returns:
        The turns, with the added backchannels, in the order in which they were placed. Turns of one speaker never
        overlap.
    """
    line: _Line[Turn] = _Line(timing, random, rate_hz)
    for number, sounding in enumerate(turns):
        if sounding.turn.kind is Kind.backchannel:
            _answer(line, sounding, required=True)
            line.owed -= 1
            continue
        _take_floor(line, sounding)
        scripted = number + 1 < len(turns) and turns[number + 1].turn.kind is Kind.backchannel
        line.owed += timing.backchannels_a_minute * sounding.samples / rate_hz / 60
        if backchannel is not None and not scripted:
            _answer_often(line, 1 - sounding.turn.speaker, backchannel)
    return line.placed


def _take_floor(line: _Line[Turn], sounding: Turn) -> None:
    """Place a turn that takes or holds the floor."""
    speaker, kind, before = sounding.turn.speaker, sounding.turn.kind, line.floor
    if before is None:
        start = line.samples(_LEAD_IN_S)
    elif line.placed[before].sounding.turn.speaker == speaker:
        start = line.placed[before].end + line.draw(line.timing.pause_s)
    else:
        cut = _cut(line, line.placed[before], speaker, kind)
        if cut is None:
            start = line.placed[before].end + _offset(line, line.placed[before], sounding)
        else:
            start, words = cut
            kind = Kind.interruption
            end = line.placed[before].start + line.placed[before].sounding.words[words - 1][1]
            line.placed[before] = replace(line.placed[before], end=end, words=words)
            line.free[1 - speaker] = end + line.samples(_REST_S)
    line.put(sounding, kind, max(start, line.free[speaker]), before)
    line.floor = len(line.placed) - 1


def _cut(line: _Line[Turn], before: Placed[Turn], speaker: int, kind: Kind) -> tuple[int, int] | None:
    """Return where an interruption starts and how many words of the turn before are spoken; None for no interruption."""
    drawn = line.random.random() < line.timing.interruption_share
    if kind is not Kind.interruption and not drawn:
        return None
    overlap = line.draw(line.timing.yield_s)
    earliest = max(before.start + line.samples(_LEAD_IN_S), line.free[speaker])
    ends = [before.start + end for _, end in before.sounding.words]
    places = [n for n in range(_FIRST_CUT_WORD, len(ends) - 1) if ends[n] - overlap >= earliest]
    if not places:
        return None
    chosen = places[int(line.random.random() * len(places))]
    return ends[chosen] - overlap, chosen + 1


def _offset(line: _Line[Turn], before: Placed[Turn], sounding: Turn) -> int:
    """Return the samples from the end of a turn to the start of the next one: a gap, or an overlap below 0."""
    asked = sounding.turn.overlap_s
    longest = min(0.5 * (before.end - before.start), 0.9 * sounding.samples)
    if asked:
        return -min(line.samples(asked), int(longest))
    is_interruption = sounding.turn.kind is Kind.interruption  # of a turn that is too short to be cut
    if asked is not None or is_interruption or line.random.random() < line.timing.overlap_share:
        return -line.draw(line.timing.overlap_s, longest)
    return line.draw(line.timing.gap_s)


def _answer_often(line: _Line[Turn], speaker: int, backchannel: Callable[[int], Turn]) -> None:
    """Add as many backchannels to the turn in progress as are owed, with a random remainder."""
    count = int(line.owed + line.random.random())
    for _ in range(max(count, 0)):
        if not _answer(line, backchannel(speaker), required=False):
            return
        line.owed -= 1


def _answer(line: _Line[Turn], sounding: Turn, *, required: bool) -> bool:
    """Place a backchannel at the end of a word of the turn in progress; return whether there was room."""
    assert line.floor is not None
    over, speaker = line.placed[line.floor], sounding.turn.speaker
    earliest = max(over.start + line.samples(_ANSWER_AFTER_S), line.free[speaker])
    latest = over.end - sounding.samples - line.samples(_ANSWER_BEFORE_S)
    ends = [over.start + end for _, end in over.sounding.words[: over.words]]
    places = [end for end in ends if earliest <= end <= latest]
    if not places and not required:
        return False
    start = places[int(line.random.random() * len(places))] if places else max(ends[0], line.free[speaker])
    line.put(sounding, Kind.backchannel, start, line.floor)
    return True
