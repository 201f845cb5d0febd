"""Spoken instructions: `POST /api/instruction/speech` of `sca watch --serve`."""

import io
import threading

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from sca.audio.pcm import pcm16_bytes
from sca.errors import MissingToolError
from sca.watch.server.app import make_app
from tests.helpers.scripted_parts import ScriptedRecognizers
from tests.helpers.timeouts import until
from tests.helpers.watch_server import host_of

URL = "/api/instruction/speech"
PCM, WAV = {"Content-Type": "audio/pcm"}, {"Content-Type": "audio/wav; codecs=1"}
SECOND = np.linspace(-0.5, 0.5, 16_000, dtype=np.float32)


class Loading:
    """Loads a scripted recognizer, and counts how often."""

    def __init__(self, text=None):
        self.engine, self.count, self.error = ScriptedRecognizers(text), 0, None

    def __call__(self, name, settings):
        self.count += 1
        if self.error is not None:
            raise self.error
        return self.engine


def client(loading, **settings):
    # Nothing is asked of this server: it only makes the recognizer available.
    address = {"recognition__engine": "openai", "recognition__base_url": "http://127.0.0.1:1/v1"}
    host = host_of("clip.mp4", load=loading, **address | settings)
    return TestClient(make_app(host), base_url="http://127.0.0.1:8000")


def wav(samples, rate=16_000):
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def test_speech_sets_the_instruction_and_loads_once():
    loading = Loading()
    with client(loading) as web:
        status = web.get("/api/status").json()
        assert (status["recognizer"], status["max_speech_s"], loading.count) == ("openai", 30, 0)
        said = web.post(URL, content=pcm16_bytes(SECOND), headers=PCM)
        assert (said.status_code, said.json()) == (200, {"instruction": "16000 samples"})
        assert web.get("/api/status").json()["instruction"] == "16000 samples"
        stereo = np.stack([SECOND, SECOND], axis=1)
        assert web.post(URL, content=wav(stereo, 32_000), headers=WAV).json() == {"instruction": "8000 samples"}
    assert loading.count == 1
    heard = np.concatenate(loading.engine.opened[0].samples)
    np.testing.assert_allclose(heard, SECOND, atol=1e-4)
    assert all(one.closed for one in loading.engine.opened)


@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        ({}, b"ab", 415, "audio/wav"),
        ({"Content-Type": "application/json"}, b"{}", 415, "audio/pcm"),
        (PCM | {"Content-Encoding": "gzip"}, b"ab", 415, "compressed"),
        (PCM, b"", 422, "empty"),
        (PCM, b"abc", 422, "half a sample"),
        (PCM, bytes(960_002), 413, "960000 bytes"),
        (WAV, b"RIFF and nothing else", 422, "the file"),
        (WAV, wav(np.zeros(31 * 8000), 8000), 413, "longer than 30 s"),
        (WAV, bytes(6_000_000), 413, "bytes"),
        (PCM, bytes(32_000), 422, "no words"),
    ],
)
def test_bad_sound_is_answered_with_the_reason(headers, body, status, says):
    with client(Loading(lambda samples: "")) as web:
        web.post("/api/instruction", json={"instruction": "before"})
        response = web.post(URL, content=body, headers=headers)
        assert response.status_code == status
        assert says in response.json()["error"]["what"]
        assert web.get("/api/status").json()["instruction"] == "before"


def test_text_beyond_the_limit_is_refused():
    with client(Loading(lambda samples: "x" * 3000)) as web:
        response = web.post(URL, content=bytes(3200), headers=PCM)
    assert (response.status_code, "2000 characters" in response.json()["error"]["what"]) == (422, True)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"recognition__engine": "no-such"}, "no-such does not exist"),
        ({"recognition__engine": "openai", "recognition__base_url": ""}, "base_url"),
        ({"recognition__engine": "whisper", "recognition__model": "whisper-tiny-en"}, "sca models get"),
    ],
)
def test_without_a_recognizer_the_page_is_told(settings, says, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    loading = Loading()
    settings = {name: value for name, value in settings.items() if value}
    host = host_of("clip.mp4", load=loading, **settings)
    with TestClient(make_app(host), base_url="http://127.0.0.1:8000") as web:
        assert web.get("/api/status").json()["recognizer"] is None
        response = web.post(URL, content=bytes(3200), headers=PCM)
    assert response.status_code == 503
    assert says in response.json()["error"]["what"]
    assert loading.count == 0


def test_a_recognizer_that_cannot_be_loaded_is_tried_again():
    loading = Loading()
    loading.error = MissingToolError("the model is gone", hint="fetch it")
    with client(loading) as web:
        response = web.post(URL, content=bytes(3200), headers=PCM)
        assert (response.status_code, response.json()["error"]["what"]) == (500, "the model is gone: fetch it")
        loading.error = None
        assert web.post(URL, content=bytes(3200), headers=PCM).status_code == 200


def test_one_recording_is_recognized_at_a_time():
    loading = Loading()
    loading.engine.ready.clear()
    with client(loading) as web:
        found = []
        first = threading.Thread(target=lambda: found.append(web.post(URL, content=bytes(3200), headers=PCM)))
        first.start()
        until(lambda: loading.engine.opened)
        second = web.post(URL, content=bytes(3200), headers=PCM)
        assert (second.status_code, second.headers["retry-after"]) == (503, "1")
        loading.engine.ready.set()
        first.join()
        assert found[0].json() == {"instruction": "1600 samples"}
