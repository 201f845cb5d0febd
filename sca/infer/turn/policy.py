"""When to ask whether a turn is over, and when to call it over: synchronous, fed with samples counted and speech heard.

Knows no model, no clock and no audio. Whoever drives it tells it of speech and silence (`heard`), asks the model when it says
so (`Ask`), and hands the answer back (`answered`). A turn ends when the model says so with enough certainty, and the longer the
silence the less is enough (the patience curve); or when the silence has lasted too long, whatever the model says.

Times are samples at 16 kHz since the session began.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from sca.config import TurnConfig

__all__ = ["Ask", "Decision", "ThresholdSchedule", "TurnPolicy"]


@dataclass(frozen=True, slots=True)
class ThresholdSchedule:
    """asks: (silence in samples, threshold), rising in the first: when to ask, and above which probability a turn is over.

    max_silence: samples of silence that end a turn without the model.   min_speech: samples of speech that make a turn.
    Raises ValueError for a curve that does not rise, is empty, or leaves the range of probabilities.
    """

    asks: tuple[tuple[int, float], ...]
    max_silence: int
    min_speech: int = 0

    def __post_init__(self) -> None:
        silences = [silence for silence, _ in self.asks]
        if not silences or silences != sorted(set(silences)) or silences[0] < 1:
            raise ValueError(f"a patience curve needs rising silences from 1 sample on, got {silences}")
        if not all(0 <= threshold <= 1 for _, threshold in self.asks):
            raise ValueError(f"thresholds are probabilities, got {self.asks}")
        if self.max_silence < 1 or self.min_speech < 0:
            raise ValueError(f"max_silence {self.max_silence} or min_speech {self.min_speech} is out of range")

    @classmethod
    def of(cls, config: "TurnConfig") -> "ThresholdSchedule":
        """From the settings: the first ask with `threshold`, then the points of `patience` that come after it."""
        first = (config.ask_after_s, config.threshold)
        later = [point for point in config.curve if point[0] > config.ask_after_s]
        asks = tuple((max(1, round(silence_s * HEARD_HZ)), threshold) for silence_s, threshold in [first, *later])
        return cls(asks, max(1, round(config.max_silence_s * HEARD_HZ)), round(config.min_speech_s * HEARD_HZ))

    def with_threshold(self, threshold: float) -> "ThresholdSchedule":
        """For one turn or one request: the first ask takes `threshold`, and no later one a higher one."""
        (silence, _), *later = self.asks
        asks = ((silence, threshold), *((at, min(held, threshold)) for at, held in later))
        return replace(self, asks=asks)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model now. at: when.   silence: how long it has been silent.   turn: of which turn.   threshold: what is enough."""

    at: int
    silence: int
    threshold: float
    turn: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A turn is over. spoke_until: its last sample of speech.   at: when it was decided.   probability: None without the model."""

    turn: int
    spoke_from: int
    spoke_until: int
    at: int
    reason: Literal["model", "silence"]
    probability: float | None = None


class TurnPolicy:
    """The state of one speaker. Feed `heard` in order; at most one of its asks is open at a time."""

    def __init__(self, patience: ThresholdSchedule) -> None:
        self.patience = patience
        self._now = 0
        self._turn = 0
        self._override: ThresholdSchedule | None = None
        self._start_turn()

    def _start_turn(self) -> None:
        self._spoke_from: int | None = None
        self._spoke_until = 0
        self._speech = 0
        self._next_ask = 0
        self._open: Ask | None = None
        self._override = None

    @property
    def now(self) -> int:
        """Samples heard."""
        return self._now

    @property
    def silence(self) -> int | None:
        """Samples since the last speech of an open turn; None when there is none."""
        return None if self._spoke_from is None else self._now - self._spoke_until

    def override(self, patience: ThresholdSchedule | None) -> None:
        """Use another patience until the turn ends."""
        self._override = patience

    def heard(self, samples: int, *, speech: bool) -> "Ask | Decision | None":
        """Take the next `samples`, speech or not. Raises ValueError for none."""
        if samples < 1:
            raise ValueError(f"expected at least one sample, got {samples}")
        self._now += samples
        if speech:
            self._speak(samples)
            return None
        if self._spoke_from is None:
            return None
        return self._silent(self._now - self._spoke_until)

    def _speak(self, samples: int) -> None:
        if self._spoke_from is None:
            self._spoke_from = self._now - samples
        self._spoke_until = self._now
        self._speech += samples
        self._next_ask = 0
        self._open = None  # an answer about a pause that ended says nothing any more

    def _silent(self, silence: int) -> "Ask | Decision | None":
        patience = self._override or self.patience
        if self._speech < patience.min_speech:
            if silence >= patience.max_silence:
                self._start_turn()  # a cough: forgotten, not a turn
            return None
        if silence >= patience.max_silence:
            return self._decide("silence", None)
        due = [i for i, (at, _) in enumerate(patience.asks) if i >= self._next_ask and at <= silence]
        if not due or self._open is not None:
            return None
        # The model was slow, or blocks are long: of the asks that came due the last one counts, with the lowest threshold so far.
        self._next_ask = due[-1] + 1
        self._open = Ask(self._now, silence, patience.asks[due[-1]][1], self._turn)
        return self._open

    def answered(self, ask: Ask, probability: float | None) -> Decision | None:
        """Take the model's answer to `ask`; None is a failure, and the policy goes on without. Late answers are ignored."""
        if ask is not self._open:
            return None
        self._open = None
        if probability is None or not probability > ask.threshold:
            return None
        return self._decide("model", probability)

    def _decide(self, reason: Literal["model", "silence"], probability: float | None) -> Decision:
        assert self._spoke_from is not None
        decision = Decision(self._turn, self._spoke_from, self._spoke_until, self._now, reason, probability)
        self._turn += 1
        self._start_turn()
        return decision
