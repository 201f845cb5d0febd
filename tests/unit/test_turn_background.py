"""A turn detector whose model runs in the background: `push` does not wait for it, and late results count."""

import threading
from concurrent.futures import wait

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.vad import FRAME_SAMPLES
from sca.config import LiveConfig
from sca.errors import UpstreamError
from sca.infer.engine import SessionConfig
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.frames import NO_FEATURES, AudioInput, TurnEnd
from sca.infer.turn.background import BackgroundPredictor
from sca.infer.turn.detector import ModelTurnDetector
from sca.infer.turn.policy import ThresholdSchedule
from sca.infer.turn.predictor import TurnPrediction
from sca.units import HEARD_HZ, Grid

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
    _, question = detector._running
    push(detector, SPEECH)
    assert question.cancelled()
    first.release.set()
