"""A turn detector whose model runs in the background: `push` does not wait for it, and late results count."""

import threading

import numpy as np
import pytest

from sca.audio.vad import FRAME_SAMPLES
from sca.errors import UpstreamError
from sca.infer.turn.detector import ModelTurnDetector
from sca.infer.turn.policy import ThresholdSchedule
from sca.infer.turn.predictor import TurnPrediction

SPEECH, SILENCE = 1.0, 0.0
SCHEDULE = ThresholdSchedule(((2 * FRAME_SAMPLES, 0.5),), max_silence=20 * FRAME_SAMPLES)


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
    detector = ModelTurnDetector(predictor, SCHEDULE)
    detector.run_in_background(0.0)
    return detector


def push(detector, *probabilities):
    results = []
    for probability in probabilities:
        detector.add_audio(np.zeros(FRAME_SAMPLES, np.float32))
        results.append(detector.push(probability))
    return results


def until_taken(detector):
    """Wait until the thread of the model has stored its result."""
    _, prediction = detector._running
    assert prediction.wait(30)


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
