"""Piper and espeak with real weights: what a recogniser understands, and where the words are."""

from itertools import pairwise

import numpy as np
import pytest

from sca.audio.resample import resample
from sca.infer.speech.base import UnitSound
from sca.infer.speech.registry import load_speech_engine, open_voice
from sca.units import HEARD_HZ
from tests.helpers.spoken import SENTENCES, inner_errors, onset_errors, whole
from tests.helpers.word_errors import errors, words_of

pytestmark = pytest.mark.weights

TEXT = "Dr. Smith paid 3.14 dollars, at the end of the day. Did the U.S.A. pay 2,500?"


@pytest.fixture(scope="module")
def recogniser(weights):
    from faster_whisper import WhisperModel

    return WhisperModel(str(weights("whisper-tiny-en")), device="cpu", compute_type="int8", cpu_threads=1)


@pytest.fixture(scope="module")
def piper(weights):
    weights("piper-joe")
    return open_voice("piper")[1]


@pytest.mark.parametrize(("engine", "most"), [("piper", 0.10), ("espeak", 0.25)])
def test_a_recogniser_understands_the_voice(weights, recogniser, engine, most):
    weights("piper-joe")
    name, voice = open_voice(None if engine == "piper" else engine)
    assert name == engine
    wrong = total = 0
    for sentence in SENTENCES:
        samples = resample(whole(voice, sentence)[0], voice.sample_rate, HEARD_HZ)
        segments, _ = recogniser.transcribe(samples, language="en", beam_size=1)
        truth = words_of(sentence)
        wrong += errors(truth, words_of(" ".join(segment.text for segment in segments)))
        total += len(truth)
    assert wrong <= most * total


def test_piper_gives_every_word_its_time(piper):
    samples, words = whole(piper, TEXT)
    assert [word.text for word in words] == TEXT.split()
    assert all(TEXT[word.start_char : word.end_char] == word.text for word in words)
    assert all(first.end_sample <= second.start_sample for first, second in pairwise(words))
    assert words[-1].end_sample <= len(samples)


def test_piper_words_start_where_the_sound_does(piper):
    text = "Bread. Tomatoes. Butter. Garlic. Potatoes. Carrots. Dinner. Breakfast. Kitchen. Table."
    samples, words = whole(piper, " ".join(f"{word[:-1]} and {word}" for word in text.split()))
    found = onset_errors(samples, words, piper.sample_rate, quiet_s=0.15)
    assert np.median(np.abs(found)) < 0.05


def test_piper_words_inside_sentences_start_where_they_are_found(piper):
    errors = inner_errors(piper, SENTENCES[:6])
    assert np.median(np.abs(errors)) < 0.06


def test_piper_speaks_a_long_text_sentence_by_sentence(piper, monkeypatch):
    units = []

    def synthesise(text):
        units.append(text)
        return UnitSound(np.zeros(100, np.float32), ())

    monkeypatch.setattr(piper, "synthesise", synthesise)
    text = "The weather is fine today. " * 370
    assert len(list(piper.speak(text))) == 370
    assert "".join(units) == text
    assert max(map(len, units)) < 60


def test_kokoro_is_understood_and_times_its_words(weights, recogniser, monkeypatch):
    weights("kokoro")
    voice = open_voice("kokoro")[1]
    synthesise = voice.synthesise
    wrong = total = 0
    for sentence in SENTENCES[:2]:
        samples, words = whole(voice, sentence)
        assert [word.text for word in words] == sentence.split()
        segments, _ = recogniser.transcribe(resample(samples, voice.sample_rate, HEARD_HZ), language="en", beam_size=1)
        truth = words_of(sentence)
        wrong += errors(truth, words_of(" ".join(segment.text for segment in segments)))
        total += len(truth)
    assert wrong <= 0.10 * total
    units = []
    monkeypatch.setattr(voice, "synthesise", lambda text: units.append(synthesise(text)) or units[-1])
    samples, words = whole(voice, "Bread. Tomatoes. Butter.")
    assert np.abs(onset_errors(samples, words, voice.sample_rate, 0.15)).max() < 0.08
    # Units begin and end in silence, and have about the same level: a join is not heard.
    assert len(units) == 2
    edges = [unit.samples[at] for unit in units for at in (0, -1)]
    assert np.abs(edges).max() < 0.01
    steps = [np.abs(np.diff(unit.samples[: voice.sample_rate // 50])).max() for unit in units]
    assert max(steps) < 0.01
    levels = [np.sqrt(np.mean(unit.samples[np.abs(unit.samples) > 0.01] ** 2)) for unit in units]
    assert max(levels) < 2 * min(levels)


def test_piper_sounds_the_same_in_pieces(piper):
    blocking, words = whole(piper, TEXT)
    chunks = list(piper.speak(iter([TEXT[:7], TEXT[7:40], TEXT[40:]])))
    streamed = np.concatenate([chunk.samples for chunk in chunks])
    assert len(streamed) == len(blocking)
    assert np.abs(streamed - blocking).max() <= 1e-5
    assert [word for chunk in chunks for word in chunk.words] == words


def test_piper_speaks_the_first_clause_first(piper):
    asked = []

    def pieces():
        for piece in ("Good morning, everyone", ". And", " now the news."):
            asked.append(piece)
            yield piece

    speech = piper.speak(pieces())
    assert len(next(speech).samples)
    assert len(asked) == 1
    speech.close()


def test_voices_of_an_engine_share_the_model(piper, monkeypatch):
    engine = load_speech_engine("piper")
    voices = [engine.open()]
    monkeypatch.setattr("sca.infer.speech.piper.PiperModel", None)  # not loaded again
    voices.append(engine.open())
    first, second = (whole(voice, "Good morning.")[0] for voice in voices)
    assert np.array_equal(first, second)
