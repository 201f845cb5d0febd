"""A turn detector that queries an end-of-turn model.

It has the interface of `SilenceTurnDetector` (`push`, `run`, `reset`) and `add_audio`, which must get the audio before
`push`.
The model runs inside `push`, and time is counted in samples, so a file gives the same decisions at any speed. In
sessions in real time `push` must not wait: after `run_in_background` the model is asked in another thread, and a later
`push` uses its answer.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import FRAME_SAMPLES
from sca.config import TurnConfig, secret_text
from sca.errors import ScaError, UpstreamError
from sca.infer.turn.background import BackgroundPredictor
from sca.infer.turn.client import TurnClient
from sca.infer.turn.client.breaker import Breaker
from sca.infer.turn.policy import Decision, Query, ThresholdSchedule, TurnPolicy
from sca.infer.turn.predictor import LocalPredictor, RemotePredictor, TurnPredictor
from sca.units import HEARD_HZ

__all__ = ["WINDOW_SAMPLES", "ModelTurnDetector", "QueryResult", "detector_factory"]

logger = logging.getLogger(__name__)

WINDOW_SAMPLES = 16 * HEARD_HZ
"""The longest input of any model."""

_LIVE_TIMEOUT_S = 0.5
"""How long a server may take in a conversation; after that the silence decides."""

_PATIENT_TIMEOUT_S = 10.0
"""The same where time is simulated, and results must not depend on the speed of the server."""

_REMOTE_QUESTIONS = 16
"""How many questions of all sessions a server gets at the same time; it batches them."""

_LOCAL_QUESTIONS = 2
"""The same for a model in this process, which shares the cores with the sessions."""

_LEAD_SAMPLES = HEARD_HZ // 2
"""Audio before the speech that the VAD detects, passed to the model. pipecat passes as much."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query of the model.

    Attributes:
        at: The time, in samples at 16 kHz.
        silence: How long the silence had lasted; 0 during speech.
        threshold: The probability above which the turn is over.
        turn: The number of the turn, from 0.
        probability: The probability; None if the model failed.
        failure: Why it failed.
    """

    at: int
    silence: int
    threshold: float
    turn: int
    probability: float | None
    failure: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the query ended the turn."""
        return self.silence > 0 and self.probability is not None and self.probability > self.threshold


class ModelTurnDetector:
    """Detects turns in a stream of audio and VAD probabilities.

    Attributes:
        run: The length of the current speech in frames; 0 in silence.
        failures: How many queries failed.
        last: The decision that ended the last turn.
    """

    def __init__(
        self,
        predictor: TurnPredictor,
        schedule: ThresholdSchedule,
        *,
        onset: float = 0.5,
        offset: float = 0.35,
        on_query: Callable[[QueryResult], None] = lambda result: None,
        query_interval: int | None = None,
        lenient: bool = True,
        background: BackgroundPredictor | None = None,
        fallback_silence: int | None = None,
    ) -> None:
        """Create a detector.

        Args:
            predictor: The model.
            schedule: When it is queried.
            onset: The VAD probability at which speech starts.
            offset: The VAD probability below which speech ends.
            on_query: Called with the result of every query.
            query_interval: Also query during speech, every so many samples. This does not end turns.
            lenient: Whether a server that fails is logged and the silence decides. If not, `push` raises its error.
            background: Asks the same model, for `run_in_background`.
            fallback_silence: The silence in samples that ends a turn while the model fails, instead of the maximum of
                the schedule; the model is then asked again after a pause. None asks it at every point of the schedule.
        """
        self._predictor, self._schedule = predictor, schedule
        self._onset, self._offset = onset, offset
        self._on_query, self._query_interval, self._lenient = on_query, query_interval, lenient
        self._background, self._in_background = background, False
        self._running: tuple[Query, Future[float], float] | None = None
        self._fallback = None
        self._breaker: Breaker | None = None
        if fallback_silence is not None:
            self._fallback = replace(schedule, max_silence=min(fallback_silence, schedule.max_silence))
            self._breaker = Breaker(predictor.name)
        self.failures = 0
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        if self._breaker is not None and not self._in_background:
            self._breaker.reset()
        self._policy = TurnPolicy(self._schedule)
        self._audio: deque[NDArray[np.float32]] = deque()
        self._audio_start = self._audio_end = 0
        self._turn_start: int | None = None
        self._last_query_at = 0
        self._turns = self.run = 0
        self._forget_query()
        self.last: Decision | None = None

    def run_in_background(self) -> None:
        """Let `push` not wait for the model: its answer is used by a later `push`, if the silence still lasts.

        Results then depend on the speed of the machine.
        """
        self._in_background = self._background is not None
        if self._background is not None and self._breaker is not None:
            self._breaker = self._background.breaker

    def _now_s(self) -> float:
        return time.monotonic() if self._in_background else self._policy.now / HEARD_HZ

    @property
    def is_asking(self) -> bool:
        """Whether the model is asked in the background and has not answered."""
        return self._running is not None and not self._running[1].done()

    def _forget_query(self) -> None:
        if self._running is not None:
            self._running[1].cancel()
        self._running = None

    def add_audio(self, samples: NDArray[np.float32]) -> None:
        """Add the audio of the frames that are pushed next, at most a second ahead of them.

        Args:
            samples: Float32 `(n,)` at 16 kHz.
        """
        self._audio.append(samples)
        self._audio_end += len(samples)
        keep = WINDOW_SAMPLES + HEARD_HZ
        while self._audio_end - self._audio_start - len(self._audio[0]) >= keep:
            self._audio_start += len(self._audio.popleft())

    def push(self, probability: float) -> tuple[int, int] | None:
        """Process a frame of audio.

        Args:
            probability: The VAD probability of the frame.

        Returns:
            The turn that is over after the frame, as (first frame, last frame + 1), or None.
        """
        decision = self.decide(probability)
        if decision is None:
            return None
        return decision.speech_start // FRAME_SAMPLES, decision.speech_end // FRAME_SAMPLES

    def decide(self, probability: float) -> Decision | None:
        """Process a frame like `push`, and return the whole decision."""
        speech = probability >= (self._offset if self.run else self._onset)
        self.run = self.run + 1 if speech else 0
        if speech:
            self._forget_query()  # it was about a pause that has ended
        outcome = self._policy.advance(FRAME_SAMPLES, speech=speech)
        now = self._policy.now
        if self._policy.silence is None and not isinstance(outcome, Decision):
            self._turn_start = None  # silence, or speech that was too short
        elif self._turn_start is None:
            self._turn_start = self._last_query_at = now - FRAME_SAMPLES
        if isinstance(outcome, Query):
            outcome = self._resolve(outcome)
        elif outcome is None and self._running is not None:
            outcome = self._late_result(*self._running)
        if (
            outcome is None
            and speech
            and self._query_interval is not None
            and now - self._last_query_at >= self._query_interval
        ):
            self._query(now, 0, self._schedule.queries[0][1])
        if outcome is not None:
            self._turn_start, self.last = None, outcome
            self._forget_query()
            self._turns += 1
        return outcome

    @property
    def max_silence(self) -> int:
        """The longest silence within a turn, in samples."""
        return self._schedule.max_silence

    @property
    def in_turn(self) -> bool:
        """Whether a turn is in progress, or speech that may become one."""
        return self._turn_start is not None

    @property
    def open_since(self) -> int | None:
        """Where the current turn started; None between turns."""
        return self._turn_start

    def _resolve(self, query: Query) -> Decision | None:
        asked_s = self._now_s()
        if self._breaker is not None and not self._breaker.allows(asked_s):
            self._policy.override(self._fallback)
            return self._policy.resolve(query, None)
        if not self._in_background or self._background is None:
            return self._policy.resolve(query, self._query(query.at, query.silence, query.threshold))
        self._last_query_at = query.at
        self._running = query, self._background.ask(self._turn_audio(query.at)), asked_s
        return None

    def _late_result(self, query: Query, prediction: "Future[float]", asked_s: float) -> Decision | None:
        """Use the answer from the background if it is there."""
        if not prediction.done():
            return None
        self._running = None
        probability = self._noted(query.at, query.silence, query.threshold, asked_s, prediction.result)
        return self._policy.resolve(query, probability)

    def _query(self, at: int, silence: int, threshold: float) -> float | None:
        self._last_query_at = at
        audio = self._turn_audio(at)
        return self._noted(at, silence, threshold, self._now_s(), lambda: self._predictor.predict(audio).probability)

    def _noted(
        self, at: int, silence: int, threshold: float, asked_s: float, predict: Callable[[], float]
    ) -> float | None:
        """Return the probability and report the query; None if the model failed."""
        probability = failure = None
        # A conversation that is going on cannot be given a better key, so no failure of the server ends it.
        tolerated = ScaError if self._in_background else UpstreamError
        try:
            probability = predict()
        except ScaError as error:
            if not self._lenient or not isinstance(error, tolerated):
                raise
            failure = error.message
            self._failed(asked_s, failure)
        else:
            if self._breaker is not None:
                self._breaker.answered()
        self._on_query(QueryResult(at, silence, threshold, self._turns, probability, failure))
        return probability

    def _failed(self, asked_s: float, cause: str) -> None:
        self.failures += 1
        if self._breaker is None:
            logger.warning("turn model: %s; silence ends the turn", cause)
            return
        self._policy.override(self._fallback)
        self._breaker.failed(asked_s, self._now_s(), cause)

    def _turn_audio(self, end: int) -> NDArray[np.float32]:
        """Return the audio of the turn up to `end`, and a little before it."""
        assert self._turn_start is not None
        start = max(self._turn_start - _LEAD_SAMPLES, end - WINDOW_SAMPLES, self._audio_start)
        audio = np.concatenate(self._audio) if self._audio else np.zeros(0, np.float32)
        return audio[start - self._audio_start : end - self._audio_start]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _SharedModel:
    """A model and the threads that ask it."""

    predictor: TurnPredictor
    background: BackgroundPredictor


_shared: WeakValueDictionary[tuple[TurnConfig, str], _SharedModel] = WeakValueDictionary()
"""The models in use: an engine and a server around it ask the same one."""
_lock = threading.Lock()


def _load(turn: TurnConfig, turn_model: str) -> _SharedModel:
    if not turn_model.startswith(("http://", "https://")):
        local = LocalPredictor(turn if turn_model == "auto" else turn.model_copy(update={"model_id": turn_model}))
        return _SharedModel(local, BackgroundPredictor(lambda: local, _LOCAL_QUESTIONS, local.name))
    key = secret_text(turn.auth_key)

    def connect(timeout_s: float = _LIVE_TIMEOUT_S) -> TurnPredictor:
        return RemotePredictor(TurnClient(turn_model, key, timeout_s))

    predictor = connect(_PATIENT_TIMEOUT_S)
    return _SharedModel(predictor, BackgroundPredictor(connect, _REMOTE_QUESTIONS, predictor.name))


def detector_factory(
    turn: TurnConfig, turn_model: str = "auto", *, onset: float = 0.5, offset: float = 0.35, fallback_ms: int = 640
) -> Callable[..., ModelTurnDetector]:
    """Return a function that creates the detector of a session.

    All detectors of a process with the same settings share one model, and ask it together.

    Args:
        turn: The settings.
        turn_model: `auto` for the model of the settings, the URL of a server, or another model.
        onset: See `ModelTurnDetector`.
        offset: See `ModelTurnDetector`.
        fallback_ms: The silence that ends a turn while the model fails, in ms.

    Returns:
        The function. Its arguments are a threshold schedule, or None for that of the settings; and another
        `fallback_ms`.

    Raises:
        UsageError: The URL is not valid.
        ScaError: The model was not found or could not be loaded.
    """
    with _lock:
        shared = _shared.get((turn, turn_model))
        if shared is None:
            shared = _shared[turn, turn_model] = _load(turn, turn_model)
    usual = ThresholdSchedule.from_config(turn)

    def make(schedule: ThresholdSchedule | None = None, fallback_ms: int = fallback_ms) -> ModelTurnDetector:
        return ModelTurnDetector(
            shared.predictor,
            schedule or usual,
            onset=onset,
            offset=offset,
            background=shared.background,
            fallback_silence=fallback_ms * HEARD_HZ // 1000,
        )

    return make
