"""The speech of a recording against its timeline: which speech has a text, which is unsure, and which is missing from it.

Speech is what the VAD found when the recording was transcribed. The edges of recognised words are not exact, so an event
covers 0.15 s more on both sides, and a reaction of the audience 0.25 s. A remainder of less than 0.2 s is called an edge.
Every longer remainder is an omission: its sound has no text, and no event accounts for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sca.timeline import AudienceEvent, Event, Show, SpeechEvent, is_unsure

__all__ = ["MARGIN_S", "NOTHING", "SHORTEST_S", "Coverage", "coverage_of", "remainders"]

MARGIN_S = 0.15
"""About the error of recognised word times."""
REACTION_MARGIN_S = 0.25
"""About the precision of a reaction's start and end: a tagger gives a score every 0.24 s."""
SHORTEST_S = 0.2
"""A shorter remainder of speech is an edge of a word."""

Spans = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Seconds of speech, by what the timeline has for it. The parts add up to `speech_s`.

    Attributes:
        speech_s: Speech that the VAD found.
        labelled_s: Speech with a text.
        unsure_s: Speech that is marked as unsure.
        reactions_s: Speech by the VAD that is a reaction of the audience, such as laughter.
        edges_s: Remainders of less than 0.2 s.
        omitted: Where a longer remainder is: start and end in seconds.
    """

    speech_s: float
    labelled_s: float
    unsure_s: float
    reactions_s: float
    edges_s: float
    omitted: tuple[tuple[float, float], ...]

    @property
    def omitted_s(self) -> float:
        """Speech that the timeline does not account for."""
        return _length(self.omitted)

    def __add__(self, other: "Coverage") -> "Coverage":
        """Return the seconds of two shows together."""
        return Coverage(
            self.speech_s + other.speech_s,
            self.labelled_s + other.labelled_s,
            self.unsure_s + other.unsure_s,
            self.reactions_s + other.reactions_s,
            self.edges_s + other.edges_s,
            self.omitted + other.omitted,
        )

    def __str__(self) -> str:
        """Describe the parts, as in a summary."""
        parts = [f"{self.labelled_s:.1f} s labelled", f"{self.unsure_s:.1f} s unsure"]
        parts += [f"{self.reactions_s:.1f} s reactions"] * (self.reactions_s > 0)
        parts += [f"{self.edges_s:.1f} s edges of words", f"{self.omitted_s:.1f} s omitted"]
        return f"{self.speech_s:.1f} s of speech = {' + '.join(parts)}"

    def document(self) -> dict[str, float]:
        """Return the seconds by name, for JSON."""
        names = ("speech_s", "labelled_s", "unsure_s", "reactions_s", "edges_s", "omitted_s")
        return {name: round(getattr(self, name), 3) for name in names}


NOTHING = Coverage(0.0, 0.0, 0.0, 0.0, 0.0, ())
"""No speech."""


def coverage_of(show: Show) -> Coverage | None:
    """Return how the timeline of a show accounts for its speech; None if the line lacks the speech spans."""
    if show.speech is None:
        return None
    unsure = [event for event in show.timeline if is_unsure(event)]
    other = [event for event in show.timeline if isinstance(event, SpeechEvent) and not is_unsure(event)]
    reactions = [event for event in show.timeline if isinstance(event, AudienceEvent)]
    speech = [(start, end) for start, end in show.speech]
    # An unsure event counts first: where it is next to a text, the margin of the text does not make it certain.
    left = _without(speech, _exact(unsure))
    unsure_s, before = _length(speech) - _length(left), left
    left = _without(left, _widened(other))
    labelled_s, before = _length(before) - _length(left), left
    left = _without(left, _widened(unsure))
    unsure_s, before = unsure_s + _length(before) - _length(left), left
    left = _without(left, _widened(reactions, REACTION_MARGIN_S))
    reactions_s = _length(before) - _length(left)
    omitted = tuple((start, end) for start, end in left if end - start >= SHORTEST_S)
    return Coverage(_length(speech), labelled_s, unsure_s, reactions_s, _length(left) - _length(omitted), omitted)


def remainders(speech: Sequence[tuple[float, float]], events: Iterable[Event]) -> Spans:
    """Return the speech of at least 0.2 s that no speech of the timeline covers and that is no reaction of the audience.

    Args:
        speech: Where the VAD found speech, in seconds, sorted and disjoint.
        events: The timeline.
    """
    events = list(events)
    left = _without(speech, _widened(event for event in events if isinstance(event, SpeechEvent)))
    left = _without(left, _widened((event for event in events if isinstance(event, AudienceEvent)), REACTION_MARGIN_S))
    return [(round(start, 3), round(end, 3)) for start, end in left if end - start >= SHORTEST_S]


def _exact(events: Iterable[Event]) -> Spans:
    return sorted((event.start, event.end) for event in events)


def _widened(events: Iterable[Event], margin_s: float = MARGIN_S) -> Spans:
    return sorted((event.start - margin_s, event.end + margin_s) for event in events)


def _without(spans: Sequence[tuple[float, float]], taken: Sequence[tuple[float, float]]) -> Spans:
    """Return what is left of sorted, disjoint `spans` without the sorted spans `taken`, which may overlap each other."""
    left: Spans = []
    first = 0
    for start, end in spans:
        while first < len(taken) and taken[first][1] <= start:
            first += 1
        at = start
        for low, high in taken[first:]:
            if low >= end or at >= end:
                break
            if low > at:
                left.append((at, low))
            at = max(at, high)
        if at < end:
            left.append((at, end))
    return left


def _length(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)
