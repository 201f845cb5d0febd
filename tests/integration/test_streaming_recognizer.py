"""The streaming recognizer with a real model, on speech with known words and times."""

import subprocess
import sys

import numpy as np
import pytest

import sca
from sca.audio.resample import resample
from sca.config import Settings
from sca.errors import MissingToolError, UsageError
from sca.infer.recognition.registry import load_recognizer
from sca.infer.recognition.whisper import WhisperEngine
from sca.infer.speech.registry import load_speech_engine
from sca.units import HEARD_HZ
from tests.helpers.spoken import whole
from tests.helpers.word_errors import errors, words_of

TEXT = (
    "And so, my friends, ask not what your town can do for you. "
    "Ask what you can do for your town, and bring a map, because the old streets are narrow. "
    "It arrived this morning, and there are already seven people on the waiting list."
)


def settings_of(**values):
    return Settings.model_validate({"recognition": {"language": "en", **values}})


@pytest.fixture(scope="module")
def spoken(weights):
    """Speech of the voice piper at 16 kHz, and its words with their times."""
    weights("piper-joe")
    voice = load_speech_engine("piper").open()
    sound, words = whole(voice, TEXT)
    pause = np.zeros(HEARD_HZ, np.float32)
    return np.concatenate([pause, resample(sound, voice.sample_rate, HEARD_HZ).astype(np.float32), pause]), [
        (word.start_sample / voice.sample_rate + 1, word.end_sample / voice.sample_rate + 1) for word in words
    ]


@pytest.fixture(scope="module")
def engine(weights):
    weights("whisper-tiny-en")
    return WhisperEngine(settings_of(model="whisper-tiny-en").recognition)


def heard(recognizer, sound, chunk=5120):
    recognizer.start_processing()
    for start in range(0, len(sound), chunk):
        recognizer.put_audio_chunk(sound[start : start + chunk])
    recognizer.finish()
    return recognizer.get_final(120)


@pytest.mark.weights
def test_commits_the_words_of_speech_while_it_is_spoken(engine, spoken):
    sound, words = spoken
    stream, before, received = engine.stream(), (), []
    for start in range(0, len(sound), 5120):
        stream.push(sound[start : start + 5120])
        assert stream.result.words[: len(before)] == before
        received += [start + 5120] * (len(stream.result.words) - len(before))
        before = stream.result.words
    stream.finish()
    found = stream.result.words
    received += [len(sound)] * (len(found) - len(before))
    assert found[: len(before)] == before
    assert errors(words_of(TEXT), words_of(stream.result.text)) <= 3
    lags = [at - word.end_sample for word, at in zip(found, received, strict=True)]
    assert np.median(lags) < 1.5 * HEARD_HZ
    assert found[0].start_sample / HEARD_HZ == pytest.approx(words[0][0], abs=0.5)
    assert found[-1].end_sample / HEARD_HZ == pytest.approx(words[-1][1], abs=0.5)


@pytest.mark.weights
def test_the_thread_hears_the_same_words(engine, spoken):
    recognizer = sca.StreamingRecognizer(engine)
    result = heard(recognizer, spoken[0])
    recognizer.close()
    assert errors(words_of(TEXT), words_of(result.text)) <= 3
    assert result.audio_samples == len(spoken[0])


@pytest.mark.weights
def test_silence_and_noise_have_no_words(engine):
    rng = np.random.default_rng(5)
    noise = (0.05 * rng.standard_normal(8 * HEARD_HZ)).astype(np.float32)
    for sound in (np.zeros(8 * HEARD_HZ, np.float32), noise):
        stream = engine.stream()
        stream.push(sound)
        stream.finish()
        assert stream.result.words == ()
        assert stream.decoded == 0


def test_names_a_model_that_cannot_be_loaded(tmp_path):
    with pytest.raises(MissingToolError, match="lacks"):
        sca.StreamingWhisperASR(str(tmp_path))


@pytest.mark.weights
@pytest.mark.parametrize("last", ["pass", "recognizer.close()"])
def test_a_process_can_exit_while_the_model_works(weights, spoken, last, tmp_path):
    weights("whisper-tiny-en")
    np.save(tmp_path / "sound.npy", spoken[0])
    program = f"""
import numpy, sca
recognizer = sca.StreamingRecognizer("whisper-tiny-en", language="en")
recognizer.start_processing()
recognizer.put_audio_chunk(numpy.load({str(tmp_path / "sound.npy")!r}))
while not recognizer.get_latest_partial().words:
    pass
recognizer.put_audio_chunk(numpy.load({str(tmp_path / "sound.npy")!r}))
{last}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.weights
def test_names_a_language_that_the_model_does_not_have(weights):
    weights("whisper-tiny-en")
    with pytest.raises(UsageError, match="does not support the language 'de'"):
        sca.StreamingRecognizer("whisper-tiny-en", language="de")
    assert load_recognizer("whisper", settings_of(model="whisper-tiny-en")).name == "whisper-tiny-en"
