"""Evaluation of a detector: event F1 per reaction, against timelines that a person marked.

A predicted event is correct if an event of the same reaction in the same show starts and ends within the tolerance, by
default 0.5 s, of it. Each event is matched at most once, by a maximum matching, so the order of the events does not
matter. Only events of the audience count. A second count, `any`, matches events of whatever reaction: it shows whether
a detector finds that the room reacts, as one that does not name reactions does.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypedDict

from sca.errors import InputError
from sca.timeline import AudienceEvent, BrokenLine, Show, read_shows

__all__ = ["COLLAR_S", "Counts", "Evaluation", "Measures", "Timelines", "compare", "count_matches", "read_timelines"]

COLLAR_S = 0.5
"""Largest difference between the starts, and between the ends, of two matching events."""

_ROUNDING_S = 1e-9  # so that 1.2 is within 0.5 s of 0.7 in floating-point arithmetic

Span = tuple[float, float]


class Measures(TypedDict):
    """Event scores as `sca eval reactions --json` prints them; None where a ratio is undefined."""

    precision: float | None
    recall: float | None
    f1: float | None
    found: int
    predicted: int
    true: int


@dataclass(slots=True)
class Counts:
    """Event counts.

    Attributes:
        found: Matched pairs.
        predicted: Events that the detector found.
        true: Events that the person marked.
    """

    found: int = 0
    predicted: int = 0
    true: int = 0

    def add(self, guesses: Sequence[Span], true: Sequence[Span], collar_s: float) -> None:
        """Count the events of a show."""
        self.found += count_matches(guesses, true, collar_s)
        self.predicted += len(guesses)
        self.true += len(true)

    def measures(self) -> Measures:
        """Compute precision, recall and F1."""
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
    """The content of a file of timelines.

    Attributes:
        shows: Shows by `video_id`; if a show has several lines, the last one.
        broken: Lines that could not be parsed.
    """

    shows: dict[str, Show] = field(default_factory=dict)
    broken: list[BrokenLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of comparing predicted and true timelines.

    Attributes:
        classes: Counts by reaction type, for the types that occur.
        total: The sum of `classes`.
        any: Counts without regard to the reaction.
        shows: Number of shows in the truth.
        missed: Shows of the truth without a prediction; their events count as not found.
        unmarked: Predicted shows that are not in the truth; they are ignored.
    """

    classes: dict[str, Counts]
    total: Counts
    any: Counts
    shows: int
    missed: list[str]
    unmarked: list[str]


def read_timelines(path: Path) -> Timelines:
    """Read the shows of a JSONL file.

    Raises:
        InputError: The file cannot be read or contains no show.
    """
    timelines = Timelines()
    for _, line in read_shows(path):
        if isinstance(line, BrokenLine):
            timelines.broken.append(line)
        else:
            timelines.shows[line.video_id] = line
    if not timelines.shows:
        first = f"; {timelines.broken[0]}" if timelines.broken else ""
        raise InputError(f"{path} contains no show{first}", hint="give a file of lines as sca transcribe writes them")
    return timelines


def compare(predicted: Mapping[str, Show], truth: Mapping[str, Show], *, collar_s: float = COLLAR_S) -> Evaluation:
    """Count the matching events of all shows.

    Args:
        predicted: Shows with the events that a detector found, by `video_id`.
        truth: Shows with the events that a person marked, by `video_id`.
        collar_s: The tolerance: largest difference of starts and of ends.
    """
    classes: dict[str, Counts] = {}
    whole = Counts()
    for video_id, show in truth.items():
        true_spans = _spans_by_reaction(show)
        predicted_spans = _spans_by_reaction(predicted[video_id]) if video_id in predicted else {}
        for reaction in true_spans.keys() | predicted_spans.keys():
            counts = classes.setdefault(reaction, Counts())
            counts.add(predicted_spans.get(reaction, []), true_spans.get(reaction, []), collar_s)
        whole.add(list(chain(*predicted_spans.values())), list(chain(*true_spans.values())), collar_s)
    all_counts = classes.values()
    return Evaluation(
        classes=dict(sorted(classes.items())),
        total=Counts(
            found=sum(counts.found for counts in all_counts),
            predicted=sum(counts.predicted for counts in all_counts),
            true=sum(counts.true for counts in all_counts),
        ),
        any=whole,
        shows=len(truth),
        missed=sorted(truth.keys() - predicted.keys()),
        unmarked=sorted(predicted.keys() - truth.keys()),
    )


def count_matches(predicted: Sequence[Span], true: Sequence[Span], collar_s: float = COLLAR_S) -> int:
    """Return the size of a maximum one-to-one matching of events.

    Args:
        predicted: Predicted events, `(start, end)` in seconds.
        true: True events.
        collar_s: Largest difference of starts and of ends.
    """
    candidates = _candidates(sorted(predicted), sorted(true), collar_s + _ROUNDING_S)
    partners: dict[int, int] = {}
    for guess in range(len(candidates)):
        _augment(guess, candidates, partners)
    return len(partners)


def _candidates(predicted: Sequence[Span], true: Sequence[Span], collar_s: float) -> list[list[int]]:
    """Return, for each predicted event, the true events that it may match. Both lists must be sorted by start."""
    candidates = []
    first = 0
    for start, end in predicted:
        while first < len(true) and true[first][0] < start - collar_s:
            first += 1
        matching = []
        for i in range(first, len(true)):
            if true[i][0] > start + collar_s:
                break
            if abs(true[i][1] - end) <= collar_s:
                matching.append(i)
        candidates.append(matching)
    return candidates


def _augment(guess: int, candidates: Sequence[Sequence[int]], partners: dict[int, int]) -> None:
    """Match `guess` if an augmenting path exists. The search is breadth-first, so deep paths do not exhaust the stack.

    Args:
        guess: A predicted event without a partner.
        candidates: The true events that each predicted event may match.
        partners: The predicted event that each true event is matched with; changed in place.
    """
    reached_from: dict[int, int] = {}  # true event -> the predicted event that reached it
    previous: dict[int, int] = {}  # predicted event -> the true event that it would give up
    queue = [guess]
    for current in queue:
        for event in candidates[current]:
            if event in reached_from:
                continue
            reached_from[event] = current
            if event in partners:
                previous[partners[event]] = event
                queue.append(partners[event])
                continue
            while True:  # follow the path back and swap its edges
                new_partner = reached_from[event]
                partners[event] = new_partner
                if new_partner == guess:
                    return
                event = previous[new_partner]


def _spans_by_reaction(show: Show) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = defaultdict(list)
    for event in show.timeline:
        if isinstance(event, AudienceEvent):
            spans[event.reaction_type].append((event.start, event.end))
    return spans
