"""A turn detector whose model runs in the background: `push` does not wait for it, and late results count."""

import threading
from concurrent.futures import wait

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.vad import FRAME_SAMPLES
from sca.config import LiveConfig
from sca.errors import ConfigError, UpstreamError
from sca.infer.engine import SessionConfig
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.frames import NO_FEATURES, AudioInput, TurnEnd
from sca.infer.turn.background import BackgroundPredictor
from sca.infer.turn.client.breaker import Breaker
from sca.infer.turn.detector import ModelTurnDetector
from sca.infer.turn.policy import ThresholdSchedule
from sca.infer.turn.predictor import TurnPrediction
from sca.units import HEARD_HZ, Grid
from tests.helpers.timeouts import TIMEOUT_S, until

SPEECH, SILENCE = 1.0, 0.0
SCHEDULE = ThresholdSchedule(((2 * FRAME_SAMPLES, 0.5),), max_silence=20 * FRAME_SAMPLES)


@pytest.fixture(scope="module")
def phrase(trial_data):
    """Two seconds of speech, float32 at 16 kHz."""
    return read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ)[: int(2.3 * HEARD_HZ)]


class Held:
    """A predictor that waits for `release`."""

    name = "held"

    def __init__(self, probability=0.9, error=None):
        self.release, self.begun = threading.Event(), threading.Semaphore(0)
        self.probability, self.error = probability, error

    def predict(self, samples, threshold=None):
        self.begun.release()
        assert self.release.wait(30)
        if self.error is not None:
            raise self.error
        return TurnPrediction(self.probability, True)


def detector_for(predictor):
    detector = ModelTurnDetector(predictor, SCHEDULE, background=BackgroundPredictor(lambda: predictor, 1))
    detector.run_in_background()
    return detector


def push(detector, *probabilities):
    results = []
    for probability in probabilities:
        detector.add_audio(np.zeros(FRAME_SAMPLES, np.float32))
        results.append(detector.push(probability))
    return results


def until_taken(detector):
    """Wait until the thread of the model has stored its result."""
    if detector._running is not None:
        wait([detector._running[1]], 30)


def test_late_result_ends_the_turn():
    predictor = Held()
    detector = detector_for(predictor)
    assert push(detector, *[SPEECH] * 4, *[SILENCE] * 5) == [None] * 9
    predictor.release.set()
    until_taken(detector)
    assert push(detector, SILENCE) == [(0, 4)]
    assert detector.last.reason == "model"
    assert not detector.in_turn


def test_result_is_ignored_if_speech_has_gone_on():
    predictor = Held()
    detector = detector_for(predictor)
    push(detector, *[SPEECH] * 4, *[SILENCE] * 3, SPEECH)
    predictor.release.set()
    until_taken(detector)
    assert push(detector, SPEECH, SPEECH) == [None, None]
    assert detector.in_turn


@pytest.mark.parametrize("error", [UpstreamError("no answer"), None])
def test_silence_ends_the_turn_without_a_result(error):
    predictor = Held(probability=0.1, error=error)
    detector = detector_for(predictor)
    push(detector, *[SPEECH] * 4, *[SILENCE] * 5)
    predictor.release.set()
    until_taken(detector)
    results = push(detector, *[SILENCE] * 20)
    assert [result for result in results if result] == [(0, 4)]
    assert detector.last.reason == "silence"
    assert detector.failures == (error is not None)


def test_steps_of_real_time_sessions_do_not_wait_for_the_model(phrase):
    """The turn is detected by silence while the model thinks, and no step waits for it."""
    predictor = Held()
    background = BackgroundPredictor(lambda: predictor, 1)
    schedule = ThresholdSchedule(((HEARD_HZ // 5, 0.5),), max_silence=HEARD_HZ)
    engine = ParrotEngine(LiveConfig(), lambda: ModelTurnDetector(predictor, schedule, background=background))
    session = engine.open(SessionConfig())
    chunk = Grid().heard_samples
    sound = np.concatenate([phrase, np.zeros(3 * HEARD_HZ, np.float32)])
    frames = [
        frame
        for index in range(len(sound) // chunk)
        for frame in session.step(AudioInput(NO_FEATURES, sound[index * chunk :][:chunk], index, index * chunk))
    ]
    assert [frame for frame in frames if isinstance(frame, TurnEnd)] or len(frames) > 3
    assert not predictor.release.is_set()
    predictor.release.set()
    background.close()


def test_a_question_about_a_pause_that_has_ended_is_not_asked():
    first, second = Held(), Held()
    busy = BackgroundPredictor(lambda: first, 1)
    busy.ask(np.zeros(10, np.float32))
    assert first.begun.acquire(timeout=30)
    detector = ModelTurnDetector(second, SCHEDULE, background=busy)
    detector.run_in_background()
    push(detector, *[SPEECH] * 4, *[SILENCE] * 3)
    question = detector._running[1]
    push(detector, SPEECH)
    assert question.cancelled()
    first.release.set()


class Dead:
    """A predictor that fails until it is revived."""

    name = "dead"

    def __init__(self, error):
        self.error, self.asked = error, 0

    def predict(self, samples, threshold=None):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return TurnPrediction(0.9, True)


PATIENT = ThresholdSchedule(((2 * FRAME_SAMPLES, 0.5), (6 * FRAME_SAMPLES, 0.4)), max_silence=90 * FRAME_SAMPLES)
TALK = [SPEECH] * 4 + [SILENCE] * 96  # 3.2 s


def ends(detector, frames):
    """Return after how many frames of silence turns ended."""
    return [index - 4 + 1 for index, turn in enumerate(push(detector, *frames)) if turn]


def test_a_dead_model_is_as_silence_alone(caplog):
    """In simulated time: the pauses of the breaker are counted in samples, so the result is always the same."""
    runs = []
    for _ in range(2):
        predictor = Dead(UpstreamError("no route"))
        detector = ModelTurnDetector(predictor, PATIENT, fallback_silence=20 * FRAME_SAMPLES)
        runs.append(([ends(detector, TALK) for _ in range(6)], predictor.asked))
        assert detector.failures == predictor.asked
    assert runs[0] == runs[1]
    assert runs[0][0] == [[20]] * 6
    assert runs[0][1] == 4, "asked after pauses of 1, 2, 4 s; the turns are 3.2 s apart"
    assert [record.message for record in caplog.records] == [
        "turn model: no route; silence ends turns until dead answers"
    ] * 2


def test_a_model_that_answers_again_is_used(caplog):
    predictor = Dead(UpstreamError("no route"))
    detector = ModelTurnDetector(predictor, PATIENT, fallback_silence=20 * FRAME_SAMPLES)
    assert ends(detector, TALK) == [20]
    predictor.error = None
    assert ends(detector, TALK) == [2]
    assert caplog.records[-1].message == "turn model: dead answers again"


@pytest.mark.parametrize("error", [UpstreamError("no route"), ConfigError("wrong key")])
def test_sessions_share_the_failures_of_a_model(error):
    predictor = Dead(error)
    background = BackgroundPredictor(lambda: predictor, 1)
    detectors = [
        ModelTurnDetector(predictor, PATIENT, background=background, fallback_silence=20 * FRAME_SAMPLES)
        for _ in range(3)
    ]
    for detector in detectors:
        detector.run_in_background()
        push(detector, *TALK[:7])
        until_taken(detector)
        assert ends(detector, [SILENCE] * 93)
    assert [detector.failures for detector in detectors] == [1, 0, 0]
    assert predictor.asked == 1
    background.close()


def test_breaker_pauses():
    breaker = Breaker("model")
    now_s, tried_s = 0.0, []
    while now_s < 300:
        if breaker.allows(now_s):
            tried_s.append(now_s)
            breaker.failed(now_s, now_s, "down")
        now_s += 0.5
    assert tried_s == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    breaker.failed(1.0, 300.0, "asked long ago, by another session")
    assert breaker.allows(303.0)
    breaker.answered()
    assert breaker.allows(303.0)


class SlowModel:
    """A model that answers some seconds later, on a clock that moves when all callers have been stepped."""

    name = "slow"

    def __init__(self, answer_s):
        self.answer_s, self.now_s, self.asked = answer_s, 0.0, []
        self.moved = threading.Condition()
        self.background = BackgroundPredictor(lambda: self, 16)
        self.ask, self.background.ask = self.background.ask, self.remember

    def remember(self, samples):
        self.asked.append(self.ask(samples))
        return self.asked[-1]

    def predict(self, samples, threshold=None):
        due_s = self.now_s + self.answer_s
        with self.moved:
            assert self.moved.wait_for(lambda: self.now_s >= due_s, TIMEOUT_S), "a step waited for the answer"
        return TurnPrediction(0.9, True)

    def move(self, seconds):
        until(lambda: all(future.running() or future.done() for future in self.asked))
        with self.moved:
            self.now_s += seconds
            self.moved.notify_all()
        wait(self.asked, TIMEOUT_S)  # answers are due within a chunk


@pytest.mark.parametrize("callers", [1, 6, 16])
@pytest.mark.parametrize("answer_s", [0.05, 0.25])
def test_callers_lose_no_chunk_to_a_slow_model(callers, answer_s, phrase):
    """If a step waited for an answer, the clock would stand still, and the answer would never come."""
    model, detectors = SlowModel(answer_s), []

    def make_detector():
        schedule = ThresholdSchedule(((HEARD_HZ // 5, 0.5),), max_silence=4 * HEARD_HZ)
        detectors.append(ModelTurnDetector(model, schedule, background=model.background, fallback_silence=4 * HEARD_HZ))
        return detectors[-1]

    engine = ParrotEngine(LiveConfig(), make_detector)
    sessions = [engine.open(SessionConfig()) for _ in range(callers)]
    chunk = Grid().heard_samples
    sound = np.concatenate([phrase, np.zeros(2 * HEARD_HZ, np.float32)])
    for index in range(len(sound) // chunk):
        for session in sessions:
            session.step(AudioInput(NO_FEATURES, sound[index * chunk :][:chunk], index, index * chunk))
        model.move(chunk / HEARD_HZ)
    assert [detector.last.reason for detector in detectors] == ["model"] * callers
    model.background.close()
