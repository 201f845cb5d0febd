"""The engine openai against a server on this machine: formats, word times, limits, and the faults of servers."""

import json
import threading

import numpy as np
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from sca.cli.main import app
from sca.config import Settings, SpeechConfig
from sca.errors import ConfigError, MissingToolError, UpstreamError, UsageError
from sca.infer.speech.openai.audio import Caption
from sca.infer.speech.openai.captions import CaptionMatcher
from sca.infer.speech.openai.engine import speech_url
from sca.infer.speech.registry import engine_state, load_speech_engine
from tests.helpers.speech_server import KEY, LETTER, RATE_HZ, sound, speech_server
from tests.helpers.spoken import whole

TEXT = "Good morning, everyone. This is the news, and it isn't long."
PAUSE = RATE_HZ * 40 // 1000


@pytest.fixture
def server():
    with speech_server() as state:
        yield state


@pytest.fixture
def voice_of(server):
    """Open voices of the server, which are closed after the test."""
    opened = []

    def open_one(**settings):
        given = {"base_url": server.url, "api_key": SecretStr(KEY), "retries": 0} | settings
        opened.append(load_speech_engine("openai", Settings(speech=SpeechConfig(**given))).open())
        return opened[-1]

    yield open_one
    server.release.set()
    for voice in opened:
        voice.close()


def expected(text):
    """The sound of a text in clauses: a first one, then sentences, each with a pause."""
    units = ["Good morning,", "everyone. This is the news, and it isn't long."] if text == TEXT else [text]
    pause = np.zeros(PAUSE, np.float32)
    return np.concatenate([np.append(np.frombuffer(sound(unit), "<i2") / np.float32(32768), pause) for unit in units])


@pytest.mark.parametrize("response_format", ["pcm", "wav"])
@pytest.mark.parametrize("stream_format", ["audio", "sse", "captions"])
def test_every_format_gives_the_same_sound(server, voice_of, response_format, stream_format):
    voice = voice_of(response_format=response_format, stream_format=stream_format, voice="nova")
    samples, words = whole(voice, TEXT)
    assert np.abs(samples - expected(TEXT)).max() < 1e-4
    assert [word.text for word in words] == TEXT.split()
    assert all(TEXT[word.start_char : word.end_char] == word.text for word in words)
    assert {body["voice"] for body in server.requests} == {"nova"}
    path = "/dev/captioned_speech" if stream_format == "captions" else "/v1/audio/speech"
    assert set(server.paths) == {path}


def test_word_times_of_the_server_are_exact(server, voice_of):
    voice = voice_of(stream_format="captions")
    text = "This is the news and it isn't long."
    _, words = whole(voice, text)
    assert [word.start_sample for word in words] == [word.start_char * LETTER for word in words]
    assert not any(word.is_estimated for word in words)
    assert words[3].end_sample == text.index(" and") * LETTER


def test_words_without_times_are_estimates(server, voice_of):
    chunks = list(voice_of().speak("Good evening to all of you."))
    words = [word for chunk in chunks for word in chunk.words]
    assert all(word.is_estimated for word in words)
    at = 0
    for chunk in chunks:
        assert all(at <= word.start_sample < at + len(chunk.samples) for word in chunk.words)
        at += len(chunk.samples)


@pytest.mark.parametrize(
    ("captions", "times"),
    [
        ([("She", 0, 1), ("has", 1, 2), ("five", 2, 3), ("dollars", 3, 4), ("now", 4, 5)], [(0, 1), (1, 2), (2, 4), (4, 5)]),
        ([("she", 0, 1), ("has", 1, 2), ("$", 2, 3), ("5", 3, 4), (".", 4, 4), ("now", 4, 5)], [(0, 1), (1, 2), (3, 4), (4, 5)]),
        ([("She", 0, 1), ("has", 1, 2)], [(0, 1), (1, 2), (9, 9), (9, 9)]),
        ([("She has", 0, 2), ("5", 2, 3), ("now", 3, 4)], [(0, 2), (2, 2), (2, 3), (3, 4)]),
        ([("Sh", 0, 1), ("e", 1, 2), ("has", 2, 3), ("$5", 3, 4), ("no", 4, 5), ("w", 5, 6)], [(0, 2), (2, 3), (3, 4), (4, 6)]),
    ],
)  # fmt: skip
def test_timed_words_are_found_in_the_text(captions, times):
    matcher = CaptionMatcher("She has $5. Now!", 100)
    given = [Caption(word=word, start_time=start, end_time=end) for word, start, end in captions]
    words = [*matcher.push(given), *matcher.finish(9)]
    assert [word.text for word in words] == ["She", "has", "$5.", "Now!"]
    assert [(w.start_sample, w.end_sample) for w in words] == [(100 * a, max(100 * b, 100 * a + 1)) for a, b in times]


def test_audio_is_heard_while_the_server_works(server, voice_of):
    voice = voice_of(model="stalls")
    speech = voice.speak("A long sentence that has several chunks.")
    assert len(next(speech).samples) == RATE_HZ // 10
    assert not server.release.is_set()
    server.release.set()
    assert sum(len(chunk.samples) for chunk in speech) > RATE_HZ


def test_cancel_ends_a_wait(server, voice_of):
    voice = voice_of(model="silent")
    found = []
    reader = threading.Thread(target=lambda: found.extend(voice.speak(TEXT)))
    reader.start()
    assert server.asked.wait(20)
    voice.cancel()
    reader.join(20)
    assert not reader.is_alive()
    assert found == []
    voice.close()


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"model": "silent", "first_audio_timeout_s": 0.3}, "does not begin the audio within 0.3 s", "first_audio"),
        ({"model": "stalls", "stall_timeout_s": 0.3}, "nothing arrived for 0.3 s", "stall_timeout_s"),
        ({"model": "silent", "clause_timeout_s": 0.3}, "not complete after", "clause_timeout_s"),
        ({"model": "breaks"}, "broke in the middle of the audio", None),
        ({"model": "rate", "response_format": "wav"}, "16000 Hz, and speech.sample_rate is 24000", "sample_rate=16000"),
        ({"model": "stereo", "response_format": "wav"}, "2 channels of 16 bits", None),
        ({"model": "ignores"}, "a WAV file instead of PCM", "response_format to wav"),
        ({"model": "mp3"}, "MP3 instead of PCM", "response_format"),
        ({"model": "odd"}, "half a sample", None),
        ({"model": "empty"}, "without audio", None),
        ({"model": "half", "stream_format": "sse"}, "JSON that is cut off", None),
        ({"model": "half", "stream_format": "captions"}, "JSON that is cut off", None),
        ({"model": "base64", "stream_format": "sse"}, "not base64", None),
        ({"model": "error", "stream_format": "sse"}, "out of memory", None),
        ({"model": "endless", "stream_format": "sse"}, "no end of the audio", None),
        ({"base_url": "http://127.0.0.1:9/v1"}, "cannot connect to http://127.0.0.1:9/v1", "speech.base_url"),
    ],
)
def test_faults_have_one_clear_line(server, voice_of, settings, message, hint):
    with pytest.raises(UpstreamError) as raised:
        whole(voice_of(**settings), TEXT)
    assert message in raised.value.message
    assert "\n" not in raised.value.message
    assert hint is None or hint in raised.value.hint


def test_streamed_wav_has_no_length(server, voice_of):
    samples, _ = whole(voice_of(model="streamed", response_format="wav"), TEXT)
    assert np.abs(samples - expected(TEXT)).max() < 1e-4


def test_busy_servers_are_asked_again(server, voice_of):
    server.refusals[:] = [429, 503]
    server.headers["retry-after"] = "0"
    samples, _ = whole(voice_of(retries=2), "Hello there.")
    assert len(server.requests) == 3
    assert len(samples) == len(expected("Hello there."))
    server.refusals[:] = [503, 503]
    with pytest.raises(UpstreamError, match="status 503: not now"):
        whole(voice_of(retries=1), "Hello there.")


def test_keys(server, voice_of):
    with pytest.raises(ConfigError, match="Incorrect API key") as raised:
        whole(voice_of(api_key=SecretStr("wrong")), TEXT)
    assert "SCA_SPEECH_API_KEY" in raised.value.hint
    assert KEY not in repr(SpeechConfig(api_key=SecretStr(KEY)))
    with pytest.raises(ConfigError, match="not allowed in an HTTP header"):
        voice_of(api_key=SecretStr("a\nb"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://h:1", "http://h:1/v1/audio/speech"),
        ("h:1/v1/", "http://h:1/v1/audio/speech"),
        ("https://h/v1/audio/speech", "https://h/v1/audio/speech"),
        ("https://h/openai/deploy", "https://h/openai/deploy/audio/speech"),
    ],
)
def test_addresses(given, url):
    assert speech_url(SpeechConfig(base_url=given)) == url


def test_addresses_that_are_none():
    with pytest.raises(MissingToolError, match="needs the address of a server"):
        speech_url(SpeechConfig())
    for bad in ("ftp://h", "http://u:p@h/v1", "http://h:x", "http://h/v1?a=1"):
        with pytest.raises(UsageError, match="is not the address of a speech server"):
            speech_url(SpeechConfig(base_url=bad))
    assert "SCA_SPEECH_BASE_URL" in engine_state("openai").hint


def test_the_client_of_openai_accepts_this_server(server, voice_of, tmp_path):
    """The server of these tests has the shape that OpenAI's own client expects."""
    import openai

    with openai.OpenAI(base_url=server.url, api_key=KEY) as client:
        options = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello.", "response_format": "pcm"}
        spoken = client.audio.speech.create(**options, stream_format="audio")
        assert spoken.read() == sound("Hello.")
    whole(voice_of(instructions="Speak slowly."), "Hello.")
    theirs, ours = server.requests
    assert ours == theirs | {"instructions": "Speak slowly."}


def test_say_with_a_server(server, tmp_path):
    command = ["say", TEXT, "--engine", "openai", "--out", str(tmp_path / "o.wav"), "--json"]
    options = ["--set", f"speech.base_url={server.url}", "--set", "speech.stream_format=captions"]
    done = CliRunner(env={"SCA_SPEECH_API_KEY": KEY}).invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [word["word"] for word in document["words"]] == TEXT.split()
    assert not any(word.get("estimated") for word in document["words"])
    server.refusals[:] = [500]
    done = CliRunner(env={"SCA_SPEECH_API_KEY": KEY}).invoke(app, [*command, *options, "--set", "speech.retries=0"])
    assert done.exit_code == 6, done.output
    assert "status 500" in done.stderr
