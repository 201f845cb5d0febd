"""The recognizer in a thread: results, errors, a slow model, and an end at any time."""

import threading

import numpy as np
import pytest

from sca.errors import InputError, ScaError, UsageError
from sca.infer.recognition.base import Recognition
from sca.infer.recognition.stream import SpeechStream, StreamOptions
from sca.infer.recognition.threaded import ThreadedRecognizer
from sca.units import HEARD_HZ
from tests.helpers.scripted_windows import MarkDetector, ScriptedDecoder, sound_of

WORDS = [(n * 5000, n * 5000 + 4000) for n in range(60)]
SOUND = sound_of(WORDS)
TEXT = " ".join(f"w{n}" for n in range(60))
CHUNK = 5120


def recognizer_of(decoder):
    return ThreadedRecognizer(lambda: SpeechStream(decoder, MarkDetector(), StreamOptions()))


@pytest.fixture
def opened():
    made = []

    def open_with(decoder):
        made.append(recognizer_of(decoder))
        made[-1].start_processing()
        return made[-1]

    yield open_with
    for recognizer in made:
        recognizer.close()


def put_all(recognizer, sound=SOUND):
    for start in range(0, len(sound), CHUNK):
        recognizer.put_audio_chunk(sound[start : start + CHUNK])


def test_returns_all_words(opened):
    recognizer = opened(ScriptedDecoder(WORDS))
    put_all(recognizer)
    recognizer.finish()
    result = recognizer.get_final(30)
    assert (result.text, result.audio_samples, result.is_final) == (TEXT, len(SOUND), True)
    assert recognizer.get_latest_partial() == result
    recognizer.finish()
    assert recognizer.get_final(0) == result


def test_recognizes_one_utterance_after_another(opened):
    recognizer = opened(ScriptedDecoder(WORDS))
    for _ in range(2):
        recognizer.start_processing()
        assert recognizer.get_latest_partial() == Recognition()
        put_all(recognizer)
        recognizer.finish()
        assert recognizer.get_final(30).text == TEXT


def test_a_slow_model_loses_partial_results_but_no_audio(opened):
    gate = threading.Event()
    decoder = ScriptedDecoder(WORDS, gate=gate)
    recognizer = opened(decoder)
    put_all(recognizer)  # returns although the model is held
    assert decoder.called.wait(30)
    with pytest.raises(UsageError, match="finish must be called"):
        recognizer.get_final(0)
    recognizer.finish()
    with pytest.raises(TimeoutError):
        recognizer.get_final(0)
    gate.set()
    assert recognizer.get_final(30).text == TEXT
    steps = len(SOUND) // StreamOptions().step_samples
    assert len(decoder.window_samples) < steps


def test_refuses_more_audio_than_it_can_hold(opened):
    gate = threading.Event()
    decoder = ScriptedDecoder(WORDS, gate=gate)
    recognizer = opened(decoder)
    recognizer.put_audio_chunk(SOUND)
    assert decoder.called.wait(30)
    for _ in range(9):
        recognizer.put_audio_chunk(np.zeros(59 * HEARD_HZ, np.float32))
    with pytest.raises(ScaError, match="behind the audio"):
        recognizer.put_audio_chunk(np.zeros(59 * HEARD_HZ, np.float32))
    gate.set()


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0, np.nan], np.float32),
        np.array([np.inf], np.float32),
        np.zeros(4),
        np.zeros((2, 2), np.float32),
        np.zeros(4, np.int16),
    ],
)
def test_refuses_what_is_not_audio(opened, samples):
    recognizer = opened(ScriptedDecoder(WORDS))
    with pytest.raises(InputError):
        recognizer.put_audio_chunk(samples)
    put_all(recognizer)
    recognizer.finish()
    assert recognizer.get_final(30).text == TEXT


def test_an_empty_utterance_has_a_result(opened):
    recognizer = opened(ScriptedDecoder(WORDS))
    recognizer.put_audio_chunk(np.zeros(0, np.float32))
    recognizer.finish()
    assert recognizer.get_final(30) == Recognition(is_final=True)


def test_the_caller_gets_the_error_of_the_model(opened):
    recognizer = opened(ScriptedDecoder(WORDS, error=ScaError("the recognizer failed: no memory")))
    recognizer.put_audio_chunk(SOUND)
    recognizer.finish()
    for call in (recognizer.get_final, recognizer.get_latest_partial):
        with pytest.raises(ScaError, match="no memory"):
            call()
    recognizer.start_processing()
    recognizer.put_audio_chunk(SOUND)
    recognizer.start_processing()
    assert recognizer.get_latest_partial() == Recognition()


def test_closing_ends_a_wait_while_the_model_works(opened):
    gate = threading.Event()
    decoder = ScriptedDecoder(WORDS, gate=gate)
    recognizer = opened(decoder)
    put_all(recognizer)
    recognizer.finish()
    raised = []

    def wait():
        with pytest.raises(UsageError, match="was closed") as caught:
            recognizer.get_final()
        raised.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert decoder.called.wait(30)
    recognizer.close()
    recognizer.close()
    waiting.join(30)
    assert raised
    gate.set()
    with pytest.raises(UsageError, match="closed"):
        recognizer.start_processing()


def test_starting_again_discards_the_utterance_in_progress(opened):
    gate = threading.Event()
    decoder = ScriptedDecoder(WORDS, gate=gate)
    recognizer = opened(decoder)
    put_all(recognizer)
    assert decoder.called.wait(30)
    recognizer.start_processing()
    gate.set()
    recognizer.finish()
    assert recognizer.get_final(30) == Recognition(is_final=True)


@pytest.mark.parametrize("call", ["finish", "get_final", "get_latest_partial"])
def test_needs_an_utterance(call):
    recognizer = recognizer_of(ScriptedDecoder(WORDS))
    with pytest.raises(UsageError, match="no utterance is in progress"):
        getattr(recognizer, call)()
    with pytest.raises(UsageError, match="no utterance is in progress"):
        recognizer.put_audio_chunk(SOUND)
    recognizer.close()


def test_refuses_audio_after_the_end(opened):
    recognizer = opened(ScriptedDecoder(WORDS))
    recognizer.finish()
    with pytest.raises(UsageError, match="is finished"):
        recognizer.put_audio_chunk(SOUND)
