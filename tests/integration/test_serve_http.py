"""The live server over HTTP: `POST /infer_wav` with good and bad bodies, `GET /metrics`, `/v1/models`."""

import base64
import io
import json
import struct
import wave

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.timeouts import TIMEOUT_S, connect

CHUNK = 5120


@pytest.fixture(scope="module")
def mirror():
    with running(MirrorEngine(), max_wav_s=2.0, max_body_bytes=400_000) as server:
        yield server


def wav(samples, rate_hz=16_000):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def noise(chunks):
    x = np.random.default_rng(1).integers(-9000, 9000, chunks * CHUNK).astype("<i2")
    x[::CHUNK] = np.abs(x[::CHUNK])
    return x


def post(server, body, accept="application/json", **params):
    return httpx.post(
        f"{server.url}/infer_wav", files={"file": ("../../etc/x.wav", body)}, params=params, headers={"Accept": accept}
    )


def pcm(data):
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_infer_wav_places_the_response_after_its_chunk(mirror):
    x = noise(3)
    response = post(mirror, wav(x), prompt="Hello")
    assert response.status_code == 200
    document = response.json()
    assert document["text"].startswith("chunk 0chunk 1chunk 2")
    spoken = pcm(base64.b64decode(document["audio"]))
    for i in range(3):
        end = (i + 2) * 7680
        assert np.array_equal(spoken[end - CHUNK : end], x[i * CHUNK : (i + 1) * CHUNK])
    assert document["timings"]["heard_s"] == 0.96
    assert document["timings"]["dropped"] == 0
    assert mirror.context.engine.opened[-1].prompt == "Hello"
    alone = post(mirror, wav(x), accept="audio/wav")
    assert alone.headers["content-type"] == "audio/wav"
    assert np.array_equal(pcm(alone.content), spoken)


def broken_wav():
    data = bytearray(wav(noise(1)))
    data[4:8] = data[40:44] = struct.pack("<I", 2_000_000_000)
    return bytes(data)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 422, "the file"),
        (b"no sound at all", 422, "the file"),
        (b"ffconcat version 1.0\nfile upload\n", 422, "the file is not a sound file but a list of files"),
        (broken_wav(), 422, "the file"),
        (wav(noise(1), 50), 422, "50 Hz"),
        (wav(noise(8)), 413, "longer than 2 s"),
        (bytes(500_000), 413, "400000 bytes"),
    ],
    ids=["empty", "text", "list-of-files", "header-of-2-gb", "rate", "long", "large"],
)
def test_rejects_bad_files_without_showing_paths(mirror, body, status, text):
    response = post(mirror, body)
    assert response.status_code == status
    what = response.json()["error"]["what"]
    assert text in what
    assert "/" not in what
    assert mirror.wait_empty()


def test_rejects_bodies_that_are_not_forms(mirror):
    url = f"{mirror.url}/infer_wav"
    whole = httpx.Request("POST", url, files={"file": ("a.wav", wav(noise(1)))})
    body = whole.read()
    truncated = httpx.post(url, content=body[: len(body) // 2], headers={"Content-Type": whole.headers["content-type"]})
    assert (truncated.status_code, truncated.json()["error"]["status"]) == (400, 400)
    assert httpx.post(url, content=wav(noise(1))).status_code == 415
    assert httpx.post(url, data={"file": "text"}, files={"other": b"x"}).status_code == 400
    assert httpx.post(url, content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    assert post(mirror, wav(noise(1)), prompt="p" * 32_769).status_code == 422


def test_engine_failure_is_one_line(mirror):
    x = noise(1)
    x[0] = 32767
    response = post(mirror, wav(x))
    assert response.status_code == 500
    assert response.json()["error"]["what"].endswith("ZeroDivisionError: the engine broke")


def count(server, name):
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_metrics_count_a_request(mirror):
    names = ("sca_chunks_heard_total", "sca_chunks_stepped_total", "sca_step_seconds_count", "sca_sessions_begun")
    before = [count(mirror, name) for name in names]
    chunks = post(mirror, wav(noise(2))).json()["timings"]["stepped"]
    assert [count(mirror, name) - was for name, was in zip(names, before, strict=True)] == [chunks, chunks, chunks, 1]
    assert count(mirror, "sca_sessions") == 0


def test_metrics_count_a_session():
    with running(MirrorEngine(), max_sessions=1, auth_key="k") as server:
        key = {"Authorization": "Bearer k"}

        def numbers():
            lines = httpx.get(f"{server.url}/metrics", headers=key).text.splitlines()
            return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

        assert httpx.get(f"{server.url}/metrics").status_code == 401
        with connect(server.ws, proxy=None, additional_headers=key) as ws:
            for _ in range(3):
                ws.send(noise(1).tobytes())
            for _ in range(9):  # a reply, an announcement and a chunk of audio each
                ws.recv(timeout=TIMEOUT_S)
            ws.send(json.dumps({"type": "interrupt"}))
            while '"interrupt"' not in str(ws.recv(timeout=TIMEOUT_S)):
                pass
            with connect(server.ws, proxy=None, additional_headers=key) as second, pytest.raises(ConnectionClosed):
                second.recv(timeout=TIMEOUT_S)
            found = numbers()
        assert server.wait_empty()
        over = numbers()
    for name, value in {
        "sca_sessions": 1,
        "sca_sessions_begun": 1,
        "sca_sessions_refused": 1,
        'sca_refusals_total{status="401"}': 1,
        "sca_chunks_heard_total": 3,
        "sca_chunks_stepped_total": 3,
        "sca_chunks_dropped_total": 0,
        "sca_sound_non_finite_samples_total": 0,
        'sca_interruptions_total{by="door"}': 1,
        'sca_sound_bytes_total{direction="in"}': 3 * 2 * CHUNK,
        'sca_sound_bytes_total{direction="out"}': 3 * 2 * 7680,
        "sca_step_seconds_count": 3,
        "sca_answer_seconds_count": 3,
        'sca_step_seconds_bucket{le="+Inf"}': 3,
    }.items():
        assert found[name] == value, name
    assert 0 < found["sca_step_seconds_sum"] <= found["sca_answer_seconds_sum"]
    assert over["sca_sessions"] == 0


def test_engine_is_listed_as_a_model(mirror):
    (model,) = httpx.get(f"{mirror.url}/v1/models").json()["data"]
    assert (model["id"], model["object"]) == ("mirror", "model")
    assert set(httpx.get(f"{mirror.url}/openapi.json").json()["paths"]) >= {"/infer_wav", "/metrics", "/v1/models"}
