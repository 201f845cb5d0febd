"""The end-of-turn policy: when to query the model, and when a turn is over.

Synchronous and independent of models, clocks and audio. Its caller reports speech and silence with `advance`, runs the
model when that returns a `Query`, and passes the result to `resolve`. A turn ends when the model is certain enough, and
less certainty is enough the longer the silence lasts (the threshold schedule); or when the silence has reached its
maximum.

Times are samples at 16 kHz since the start of the session.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sca.units import HEARD_HZ, seconds_to_samples

if TYPE_CHECKING:
    from sca.config import TurnConfig

__all__ = ["Decision", "Query", "ThresholdSchedule", "TurnPolicy"]


@dataclass(frozen=True, slots=True)
class ThresholdSchedule:
    """When the model is queried during a silence, and with which threshold.

    Attributes:
        queries: Pairs of the silence in samples, increasing, and the probability above which the turn is over.
        max_silence: Samples of silence that end a turn without the model.
        min_speech: Samples of speech that make a turn.

    Raises:
        ValueError: The silences are missing or do not increase, or a number is out of range.
    """

    queries: tuple[tuple[int, float], ...]
    max_silence: int
    min_speech: int = 0

    def __post_init__(self) -> None:
        silences = [silence for silence, _ in self.queries]
        if not silences or silences != sorted(set(silences)) or silences[0] < 1:
            raise ValueError(f"the silences must increase and be at least 1 sample, got {silences}")
        if not all(0 <= threshold <= 1 for _, threshold in self.queries):
            raise ValueError(f"thresholds must be probabilities, got {self.queries}")
        if self.max_silence < 1 or self.min_speech < 0:
            raise ValueError(f"max_silence {self.max_silence} or min_speech {self.min_speech} is out of range")

    @classmethod
    def from_config(cls, config: "TurnConfig") -> "ThresholdSchedule":
        """Return the schedule of the settings: `turn.threshold` first, then the later points of `turn.patience`."""
        first = (config.ask_after_s, config.threshold)
        later = [point for point in config.curve if point[0] > config.ask_after_s]
        queries = tuple((_at_least_one(silence_s), threshold) for silence_s, threshold in [first, *later])
        min_speech = seconds_to_samples(config.min_speech_s, HEARD_HZ)
        return cls(queries, _at_least_one(config.max_silence_s), min_speech)

    def with_threshold(self, threshold: float) -> "ThresholdSchedule":
        """Return a schedule with `threshold` for the first query and at most that for the later ones."""
        (silence, _), *later = self.queries
        queries = ((silence, threshold), *((at, min(other, threshold)) for at, other in later))
        return replace(self, queries=queries)


def _at_least_one(seconds: float) -> int:
    return max(1, seconds_to_samples(seconds, HEARD_HZ))


@dataclass(frozen=True, slots=True)
class Query:
    """The model should be run now.

    Attributes:
        at: The current time.
        silence: How long the silence has lasted.
        threshold: The probability above which the turn is over.
        turn: The number of the turn.
    """

    at: int
    silence: int
    threshold: float
    turn: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A turn is over.

    Attributes:
        turn: The number of the turn.
        speech_start: Where its speech starts.
        speech_end: Where its speech ends.
        at: When it was decided.
        reason: Whether the model or the maximum silence ended it.
        probability: The model's probability; None without the model.
    """

    turn: int
    speech_start: int
    speech_end: int
    at: int
    reason: Literal["model", "silence"]
    probability: float | None = None


class TurnPolicy:
    """The state of one speaker. At most one query is open at a time.

    Attributes:
        schedule: The threshold schedule of all turns without an override.
    """

    def __init__(self, schedule: ThresholdSchedule) -> None:
        self.schedule = schedule
        self._now = 0
        self._turn = 0
        self._override: ThresholdSchedule | None = None
        self._start_turn()

    def _start_turn(self) -> None:
        self._speech_start: int | None = None
        self._speech_end = 0
        self._speech = 0
        self._next_query = 0
        self._open: Query | None = None
        self._override = None

    @property
    def now(self) -> int:
        """The current time."""
        return self._now

    @property
    def silence(self) -> int | None:
        """Samples since the last speech of the current turn; None between turns."""
        return None if self._speech_start is None else self._now - self._speech_end

    def override(self, schedule: ThresholdSchedule | None) -> None:
        """Use another schedule until the turn ends."""
        self._override = schedule

    def advance(self, samples: int, *, speech: bool) -> "Query | Decision | None":
        """Advance the time.

        Args:
            samples: How many samples have passed.
            speech: Whether they were speech.

        Returns:
            A query to run, the end of a turn, or None.

        Raises:
            ValueError: `samples` is less than 1.
        """
        if samples < 1:
            raise ValueError(f"expected at least one sample, got {samples}")
        self._now += samples
        if speech:
            self._on_speech(samples)
            return None
        if self._speech_start is None:
            return None
        return self._on_silence(self._now - self._speech_end)

    def _on_speech(self, samples: int) -> None:
        if self._speech_start is None:
            self._speech_start = self._now - samples
        self._speech_end = self._now
        self._speech += samples
        self._next_query = 0
        self._open = None  # its result would be about a pause that has ended

    def _on_silence(self, silence: int) -> "Query | Decision | None":
        schedule = self._override or self.schedule
        if self._speech < schedule.min_speech:
            if silence >= schedule.max_silence:
                self._start_turn()  # too short for a turn, such as a cough
            return None
        if silence >= schedule.max_silence:
            return self._decide("silence", None)
        due = [i for i, (at, _) in enumerate(schedule.queries) if i >= self._next_query and at <= silence]
        if not due or self._open is not None:
            return None
        # If several queries are due, because the model was slow or blocks are long, the last one has the lowest
        # threshold.
        self._next_query = due[-1] + 1
        self._open = Query(self._now, silence, schedule.queries[due[-1]][1], self._turn)
        return self._open

    def resolve(self, query: Query, probability: float | None) -> Decision | None:
        """Process the result of a query. A result is ignored after the query was closed.

        Args:
            query: The query.
            probability: The model's probability; None if the model failed.

        Returns:
            The end of the turn, or None.
        """
        if query is not self._open:
            return None
        self._open = None
        if probability is None or not probability > query.threshold:
            return None
        return self._decide("model", probability)

    def _decide(self, reason: Literal["model", "silence"], probability: float | None) -> Decision:
        assert self._speech_start is not None
        decision = Decision(self._turn, self._speech_start, self._speech_end, self._now, reason, probability)
        self._turn += 1
        self._start_turn()
        return decision
