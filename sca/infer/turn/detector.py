"""A turn model as the judge of turns in a loop: told of sound and of speech in it, it says when a turn is over.

Has the face of the parrot's `TurnDetector` (`push`, `run`, `reset`), and `hear`, which has to get the sound first; so a loop can
take the one for the other. Synchronous: the model is asked inside `push`, which takes as long as it does. Time is samples heard,
so a file gives the same decisions however fast it goes through.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sca.audio.vad import FRAME_SAMPLES
from sca.config import TurnConfig
from sca.errors import UpstreamError
from sca.infer.turn.client import TurnClient
from sca.infer.turn.policy import Ask, Decision, ThresholdSchedule, TurnPolicy
from sca.infer.turn.predictor import LocalJudge, ServerJudge, TurnPredictor
from sca.units import HEARD_HZ

__all__ = ["WINDOW_SAMPLES", "Asked", "ModelTurnDetector", "gates"]

_log = logging.getLogger(__name__)

WINDOW_SAMPLES = 16 * HEARD_HZ
"""The most that any model hears."""

_LIVE_TIMEOUT_S = 0.3
"""Later than this an answer is of no use to a conversation, and silence decides."""

_LEAD_SAMPLES = HEARD_HZ // 2
"""Sound before what the VAD calls speech that belongs to a turn; pipecat sends as much."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The judge was asked. at: when, in samples at 16 kHz.   silence: since when, 0 during speech.   threshold: what was enough.

    turn: counted from 0.   probability: None when it could not answer; then failure says why.
    """

    at: int
    silence: int
    threshold: float
    turn: int
    probability: float | None
    failure: str | None = None

    @property
    def finished(self) -> bool:
        """Whether that ended the turn."""
        return self.silence > 0 and self.probability is not None and self.probability > self.threshold


class ModelTurnDetector:
    """See the module.

    onset, offset: speech begins at a VAD probability of onset and ends below offset.   tell: hears of every question.
    every: also ask during speech whenever so many samples have passed, for who wants to watch; it decides nothing.
    lenient: a server that fails is told about and left out, and silence ends the turn; else `push` raises what the judge raises.

    run: frames of the piece of speech that is going on, 0 in silence.   failures: questions without an answer.
    """

    def __init__(
        self,
        judge: TurnPredictor,
        patience: ThresholdSchedule,
        *,
        onset: float = 0.5,
        offset: float = 0.35,
        tell: Callable[[Asked], None] = lambda asked: None,
        every: int | None = None,
        lenient: bool = True,
    ) -> None:
        self._judge, self._patience = judge, patience
        self._onset, self._offset = onset, offset
        self._tell, self._every, self._lenient = tell, every, lenient
        self.failures = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything heard; the next sample is the first."""
        self._policy = TurnPolicy(self._patience)
        self._tape: deque[np.ndarray] = deque()
        self._taped_from = self._taped_until = 0
        self._start: int | None = None
        self._asked_at = 0
        self._turns = self.run = 0
        self.last: Decision | None = None

    def hear(self, samples: np.ndarray) -> None:
        """Take float32 `(n,)` at 16 kHz: the sound that the frames pushed next are about, at most a second ahead of them."""
        self._tape.append(samples)
        self._taped_until += len(samples)
        keep = WINDOW_SAMPLES + HEARD_HZ
        while self._taped_until - self._taped_from - len(self._tape[0]) >= keep:
            self._taped_from += len(self._tape.popleft())

    def push(self, probability: float) -> tuple[int, int] | None:
        """Take the speech probability of the next frame; returns a turn that is over with it, as (first frame, last frame + 1)."""
        decision = self.decide(probability)
        if decision is None:
            return None
        return decision.spoke_from // FRAME_SAMPLES, decision.spoke_until // FRAME_SAMPLES

    def decide(self, probability: float) -> Decision | None:
        """`push` with all that is known about the turn that is over."""
        speech = probability >= (self._offset if self.run else self._onset)
        self.run = self.run + 1 if speech else 0
        due = self._policy.heard(FRAME_SAMPLES, speech=speech)
        now = self._policy.now
        if self._policy.silence is None and not isinstance(due, Decision):
            self._start = None  # silence, or a cough that was forgotten
        elif self._start is None:
            self._start = self._asked_at = now - FRAME_SAMPLES
        if isinstance(due, Ask):
            due = self._policy.answered(due, self._ask(due.at, due.silence, due.threshold))
        elif speech and self._every is not None and now - self._asked_at >= self._every:
            self._ask(now, 0, self._patience.asks[0][1])
        if due is not None:
            self._start, self.last = None, due
            self._turns += 1
        return due

    @property
    def max_silence(self) -> int:
        """The longest that silence lasts in a turn, in samples."""
        return self._patience.max_silence

    @property
    def open_since(self) -> int | None:
        """Where the turn that is not over began; None when there is none."""
        return self._start

    def _ask(self, at: int, silence: int, threshold: float) -> float | None:
        self._asked_at = at
        probability = failure = None
        try:
            probability = self._judge.ask(self._said(at)).probability
        except UpstreamError as error:
            if not self._lenient:
                raise
            self.failures += 1
            failure = error.message
            _log.warning("turn model: %s; silence ends the turn", error)
        self._tell(Asked(at, silence, threshold, self._turns, probability, failure))
        return probability

    def _said(self, until: int) -> np.ndarray:
        """The turn so far and a little before, of which the end counts."""
        assert self._start is not None
        start = max(self._start - _LEAD_SAMPLES, until - WINDOW_SAMPLES, self._taped_from)
        heard = np.concatenate(self._tape) if self._tape else np.zeros(0, np.float32)
        return heard[start - self._taped_from : until - self._taped_from]


def gates(
    turn: TurnConfig, turn_model: str = "auto", *, onset: float = 0.5, offset: float = 0.35
) -> Callable[[], ModelTurnDetector]:
    """What makes a gate for each session of a loop; they share the judge.

    turn_model: `auto` is the model that `turn` names, http(s)://… a server, anything else a model instead of that one.
    Raises what finding and loading the model raises, `UsageError` for an address that is none.
    """
    judge: TurnPredictor
    if turn_model.startswith(("http://", "https://")):
        key = turn.auth_key.get_secret_value() if turn.auth_key is not None else None
        judge = ServerJudge(TurnClient(turn_model, key, _LIVE_TIMEOUT_S))
    else:
        judge = LocalJudge(turn if turn_model == "auto" else turn.model_copy(update={"model_id": turn_model}))
    patience = ThresholdSchedule.of(turn)
    return lambda: ModelTurnDetector(judge, patience, onset=onset, offset=offset)
