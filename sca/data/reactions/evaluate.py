"""How well a detector finds reactions: event F1 per class, against timelines a person marked.

An event is found when an event of the same reaction in the same show starts and ends within 0.5 s of it, one for one: the pairs
are a largest matching, so the order of the events does not matter. Only events of the audience count.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sca.errors import InputError
from sca.timeline import AudienceEvent, BrokenLine, Show, read_shows

__all__ = ["COLLAR_S", "Counts", "Scored", "compare", "matched", "read_timelines"]

COLLAR_S = 0.5
"""How far a start and an end may be off."""

_ROUNDING_S = 1e-9  # 1.2 is within 0.5 s of 0.7, whatever floats make of it

Span = tuple[float, float]


@dataclass(slots=True)
class Counts:
    """found: matched pairs.   predicted, true: how many events there are."""

    found: int = 0
    predicted: int = 0
    true: int = 0

    def measures(self) -> dict[str, Any]:
        """Precision is None where nothing was predicted, recall where there was nothing to find."""
        return {
            "precision": self.found / self.predicted if self.predicted else None,
            "recall": self.found / self.true if self.true else None,
            "f1": 2 * self.found / (self.predicted + self.true) if self.predicted + self.true else None,
            "found": self.found,
            "predicted": self.predicted,
            "true": self.true,
        }


@dataclass(slots=True)
class Timelines:
    """What a file holds: shows by `video_id`, the last line of each, and the lines that could not be read."""

    shows: dict[str, Show] = field(default_factory=dict)
    broken: list[BrokenLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scored:
    """classes: counts by reaction, those that occur.   total: all of them.   shows: how many were compared.

    missed: shows of the truth without a prediction; their events count as not found.   unmarked: predicted shows that the truth
    does not have; they do not count.
    """

    classes: dict[str, Counts]
    total: Counts
    shows: int
    missed: list[str]
    unmarked: list[str]


def read_timelines(path: Path) -> Timelines:
    """The shows of a JSONL file. Raises `InputError` when it cannot be read or holds no show."""
    found = Timelines()
    for _, line in read_shows(path):
        if isinstance(line, BrokenLine):
            found.broken.append(line)
        else:
            found.shows[line.video_id] = line
    if not found.shows:
        first = f"; {found.broken[0]}" if found.broken else ""
        raise InputError(f"{path} holds no show{first}", hint="give a file of lines as sca transcribe writes them")
    return found


def compare(predicted: Mapping[str, Show], truth: Mapping[str, Show]) -> Scored:
    """Count, show by show, what was found of the truth."""
    classes: dict[str, Counts] = {}
    for video_id, show in truth.items():
        wanted = _by_reaction(show)
        guessed = _by_reaction(predicted[video_id]) if video_id in predicted else {}
        for reaction in wanted.keys() | guessed.keys():
            counts = classes.setdefault(reaction, Counts())
            guesses, true = guessed.get(reaction, []), wanted.get(reaction, [])
            counts.found += matched(guesses, true)
            counts.predicted += len(guesses)
            counts.true += len(true)
    every = classes.values()
    return Scored(
        classes=dict(sorted(classes.items())),
        total=Counts(sum(c.found for c in every), sum(c.predicted for c in every), sum(c.true for c in every)),
        shows=len(truth),
        missed=sorted(truth.keys() - predicted.keys()),
        unmarked=sorted(predicted.keys() - truth.keys()),
    )


def matched(predicted: Sequence[Span], true: Sequence[Span], collar_s: float = COLLAR_S) -> int:
    """How many pairs a largest one-to-one matching has."""
    near = _near(sorted(predicted), sorted(true), collar_s + _ROUNDING_S)
    partner: dict[int, int] = {}  # of a true event
    for guess in range(len(near)):
        _augment(guess, near, partner)
    return len(partner)


def _near(predicted: Sequence[Span], true: Sequence[Span], collar_s: float) -> list[list[int]]:
    """For each prediction the true events that it may stand for. Both are sorted by start."""
    near = []
    first = 0
    for start, end in predicted:
        while first < len(true) and true[first][0] < start - collar_s:
            first += 1
        candidates = []
        for i in range(first, len(true)):
            if true[i][0] > start + collar_s:
                break
            if abs(true[i][1] - end) <= collar_s:
                candidates.append(i)
        near.append(candidates)
    return near


def _augment(guess: int, near: Sequence[Sequence[int]], partner: dict[int, int]) -> None:
    """Give `guess` a partner, if others can be moved to make room: breadth first, so that no recursion can run too deep."""
    came_from: dict[int, int] = {}  # true event -> the prediction that reached it
    before: dict[int, int] = {}  # prediction -> the true event it would have to give up
    queue = [guess]
    for one in queue:
        for event in near[one]:
            if event in came_from:
                continue
            came_from[event] = one
            if event in partner:
                before[partner[event]] = event
                queue.append(partner[event])
                continue
            while True:
                one_before = came_from[event]
                partner[event] = one_before
                if one_before == guess:
                    return
                event = before[one_before]


def _by_reaction(show: Show) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for event in show.timeline:
        if isinstance(event, AudienceEvent):
            found[event.reaction_type].append((event.start, event.end))
    return found
