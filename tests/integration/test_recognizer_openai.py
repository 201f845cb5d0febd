"""The recognizer `openai` with a real HTTP server: what it sends, what it makes of answers, and every failure."""

import json
import re

import numpy as np
import pytest
import soundfile

from sca.audio.resample import resample
from sca.config import Settings, load_settings
from sca.errors import ConfigError, InputError, UpstreamError
from sca.infer.recognition.registry import load_recognizer
from sca.resources import demo_corpus
from sca.units import HEARD_HZ
from tests.helpers.ports import refusing_port
from tests.helpers.transcription_server import Answer, TranscriptionServer

TIMED = Answer(
    json.dumps(
        {
            "task": "transcribe",
            "text": "Hello there.",
            "words": [{"word": "Hello", "start": 0.1, "end": 0.5}, {"word": "there.", "start": 0.6, "end": 0.9}],
        }
    ).encode()
)
PLAIN = Answer(b'{"text": "Good morning to you"}')


@pytest.fixture(scope="module")
def speech():
    """Two seconds of speech after two seconds of silence, with two seconds of silence after it."""
    with demo_corpus() as corpus:
        samples, rate = soundfile.read(sorted((corpus / "WAV").iterdir())[0], dtype="float32")
    heard = resample(samples, rate, HEARD_HZ).astype(np.float32)
    energy = np.cumsum(heard.astype(np.float64) ** 2)
    loudest = int(np.argmax(energy[2 * HEARD_HZ :] - energy[: -2 * HEARD_HZ]))
    silence = np.zeros(2 * HEARD_HZ, np.float32)
    return np.concatenate([silence, heard[loudest : loudest + 2 * HEARD_HZ], silence])


def opened(url, **others):
    values = {"engine": "openai", "base_url": url, "answer_timeout_s": 20.0} | others
    settings = load_settings(overrides={f"recognition.{name}": value for name, value in values.items()}, env={})
    return load_recognizer(settings=settings).open()


def heard(recognizer, audio):
    recognizer.start_processing()
    for start in range(0, len(audio), 5120):
        recognizer.put_audio_chunk(audio[start : start + 5120])
    recognizer.finish()
    return recognizer.get_final(60)


def test_sends_the_speech_and_returns_timed_words(speech):
    with TranscriptionServer(TIMED) as server:
        result = heard(opened(server.url, api_key="secret", api_model="m", language="en"), speech)
    assert (result.text, result.is_final, result.audio_samples) == ("Hello there.", True, len(speech))
    (sent, rate), (fields,) = server.audio[0], server.fields
    assert rate == HEARD_HZ
    assert 1.5 * HEARD_HZ < len(sent) < 3 * HEARD_HZ  # without most of the silence
    first = result.words[0].start_sample - HEARD_HZ // 10
    assert np.abs(speech[first : first + len(sent)] - sent).max() < 1e-4
    assert (server.paths, server.keys) == (["/v1/audio/transcriptions"], ["Bearer secret"])
    assert fields == {
        "model": "m",
        "language": "en",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }


def test_spreads_words_without_times_over_the_speech(speech):
    refusal = Answer(b'{"error": {"message": "response_format verbose_json is not supported"}}', 400)
    with TranscriptionServer(refusal, PLAIN) as server:
        result = heard(opened(f"{server.url}/audio/transcriptions/"), speech)
    assert result.text == "Good morning to you"
    assert [fields["response_format"] for fields in server.fields] == ["verbose_json", "json"]
    ends = [sample for word in result.words for sample in (word.start_sample, word.end_sample)]
    assert ends == sorted(ends)
    assert HEARD_HZ < ends[0] < ends[-1] < 5 * HEARD_HZ


def test_recognizes_several_utterances_and_sends_no_silence(speech):
    with TranscriptionServer(PLAIN) as server:
        recognizer = opened(server.url)
        assert heard(recognizer, speech).text == "Good morning to you"
        assert heard(recognizer, np.zeros(HEARD_HZ, np.float32)).words == ()
        assert heard(recognizer, np.zeros(0, np.float32)).is_final
        assert heard(recognizer, speech).text == "Good morning to you"
    assert len(server.paths) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(b'{"text": "Hel'), UpstreamError, "sent incomplete JSON"),
        (Answer(b"<html>hello</html>"), UpstreamError, "sent incomplete JSON"),
        (Answer(b'{"sentence": 1}'), UpstreamError, "without the fields of a transcription"),
        (
            Answer(b'{"text": "a", "words": [{"word": "a", "start": NaN, "end": 1}]}'),
            UpstreamError,
            "without the fields|incomplete JSON",
        ),
        (Answer(b'{"text": ""', promised=500), UpstreamError, "failed: "),
        (Answer(b'{"error": {"message": "slow down"}}', 429), UpstreamError, "status 429: slow down"),
        (Answer(b"", 503), UpstreamError, "status 503: an empty response"),
        (Answer(b'{"error": "no such key"}', 401), ConfigError, "status 401: no such key"),
        (Answer(b'{"detail": "too long"}', 413), InputError, "status 413: too long"),
        (Answer(b"moved", 302), UpstreamError, "status 302"),
    ],
)
def test_a_failed_request_is_one_line(speech, answer, kind, message):
    with TranscriptionServer(answer, PLAIN) as server:
        recognizer = opened(server.url)
        with pytest.raises(kind, match=message) as caught:
            heard(recognizer, speech)
        assert "\n" not in caught.value.message
        assert heard(recognizer, speech).text == "Good morning to you"  # the next utterance is not affected


@pytest.mark.parametrize("body", [b"", b'{"text": '])
def test_a_server_that_stalls_is_given_up(speech, body):
    with TranscriptionServer(Answer(body, promised=100, stalls=True)) as server:
        recognizer = opened(server.url, answer_timeout_s=0.3)
        with pytest.raises(UpstreamError, match=r"did not answer within 0\.3 s"):
            heard(recognizer, speech)


def test_closing_ends_the_wait_for_a_server_that_stalls(speech):
    with TranscriptionServer(Answer(promised=100, stalls=True)) as server:
        recognizer = opened(server.url)
        recognizer.start_processing()
        recognizer.put_audio_chunk(speech)
        recognizer.finish()
        with pytest.raises(TimeoutError):
            recognizer.get_final(0.01)
        recognizer.close()


def test_names_a_server_that_is_not_there(speech):
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(UpstreamError, match=f"the request to {re.escape(url)}/v1 failed"):
            heard(opened(url), speech)


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://user@host", "http://host/?a=b", "http://host:port"])
def test_refuses_what_is_not_an_address(url):
    with pytest.raises(ConfigError, match="not the address of a server"):
        opened(url)


def test_needs_an_address_and_a_key_that_can_be_sent():
    with pytest.raises(ConfigError, match="needs the address"):
        load_recognizer("openai", Settings())
    with pytest.raises(ConfigError, match="not allowed in an HTTP header"):
        opened("http://127.0.0.1:1", api_key="a\nb")
