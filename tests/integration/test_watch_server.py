"""The endpoints of `sca watch --serve`, and clients that misbehave."""

import base64
import io
import json
import socket

import av
import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from sca.watch.server.app import make_app
from tests.helpers.command import sca
from tests.helpers.timeouts import until
from tests.helpers.video import make_video, mean_level
from tests.helpers.watch_server import host_of, served


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 50, fps=25)


@pytest.fixture(scope="module")
def running(clip):
    """A host with a running session, and the URL of its server."""
    host = host_of(clip)
    host.start()
    with served(host) as url:
        yield host, url


def client(clip, **options):
    return TestClient(make_app(host_of(clip, **options)), base_url="http://127.0.0.1:8000")


def events(url, want, *, sound=False, last_id=None):
    """The events of the stream up to the first one that is wanted, as (id, name, document)."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    found, fields = [], {}
    with httpx.stream("GET", f"{url}/api/stream", params={"sound": sound}, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "data" in fields:
                found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
                if want(*found[-1][1:]):
                    return found
            fields = {}
    raise AssertionError("the stream ended")


def picture(data):
    with av.open(io.BytesIO(data), format="jpeg_pipe") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_status_control_and_errors_without_a_session(clip):
    with client(clip) as web:
        assert web.get("/health").text == "ok"
        assert web.get("/ready").status_code == 200
        status = web.get("/api/status").json()
        assert (status["state"], status["sources"], status["voice"]) == ("idle", [str(clip)], False)
        for path in ("/api/audio-stream", "/api/frame"):
            assert web.get(path).status_code == 404
        assert web.post("/api/stop").json()["state"] == "idle"
        assert set(web.get("/api/profiles").json()["profiles"]) >= {"commentator", "sports"}
        derby = {"name": "derby", "profile": {"instruction": "Comment on the derby."}}
        assert web.post("/api/profiles", json=derby).json()["profile"] == "derby"
        assert web.get("/api/status").json()["profile"] == "derby"
        assert "sca_watch_running 0.0" in web.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("instruction", b'{"instruction": "' + b"x" * 3000 + b'"}', 422, "2000 characters, and this one has 3000"),
        ("instruction", b"{bad", 400, "not JSON"),
        ("instruction", b"[1]", 422, "body"),
        ("instruction", b'{"instruction": 1}', 422, "instruction"),
        ("instruction", b'{"instruction": "a", "more": 1}', 422, "more"),
        ("instruction", b"x" * 300_000, 413, "256000 bytes"),
        ("start", b'{"source": "/etc/hostname"}', 403, "not allowed"),
        ("start", b'{"source": "http://127.0.0.1:1/video"}', 403, "not allowed"),
        ("start", b'{"profile": "no-such"}', 422, "no-such"),
        ("profiles", b'{"name": "no-such"}', 422, "no-such"),
        ("profiles", b'{"name": "A b", "profile": {}}', 422, "no name"),
        ("profiles", b'{"name": "a", "profile": {"pattern": "(x+)+y"}}', 422, "pattern"),
    ],
)
def test_bad_requests_are_answered_with_the_reason(clip, path, body, status, says):
    with client(clip) as web:
        response = web.post(f"/api/{path}", content=body)
        assert response.status_code == status
        assert says in response.json()["error"]["what"]


def test_files_of_an_allowed_folder_may_be_started(clip, tmp_path):
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(clip.read_bytes())
    (folder / "link.mp4").symlink_to(tmp_path / "secret")
    with client(clip, sources=[str(folder)], muted=True) as web:
        for name in ("../secret", "link.mp4", "b.mp4", str(tmp_path / "secret"), "a\0b", "x" * 1500):
            assert web.post("/api/start", json={"source": name}).status_code == 403
        started = web.post("/api/start", json={"source": "a.mp4", "instruction": "Count."}).json()
        assert (started["state"], started["instruction"], started["voice"]) == ("running", "Count.", False)
        assert web.get("/api/audio-stream").status_code == 404
        assert web.post("/api/stop").json()["state"] == "idle"


def test_key_host_and_origin_are_checked(clip):
    with client(clip, serve__auth_key="k") as web:
        assert web.get("/").status_code == 200
        assert web.get("/api/status").status_code == 401
        assert web.get("/api/status", headers={"Authorization": "Bearer k"}).status_code == 200
    with client(clip) as web:
        assert web.get("/api/status", headers={"Host": "evil.example"}).status_code == 421
        assert web.post("/api/stop", headers={"Origin": "http://evil.example"}).status_code == 403


def test_events_have_text_speech_sound_and_timings(running):
    _, url = running
    spoke = lambda name, document: name == "cycle_end" and document["outcome"] == "spoke"  # noqa: E731
    found = events(url, spoke)
    assert found[0][1] == "status"
    assert "sound" not in {name for _, name, _ in found}
    end = found[-1][2]
    assert end["text"].endswith("runs.")
    assert 0 <= end["first_audio_s"] <= end["end_to_end_s"] + 0.01

    status = httpx.post(f"{url}/api/instruction", json={"instruction": "Left"}).json()
    assert status["instruction"] == "Left"
    last_id = found[-1][0]
    later = events(url, lambda name, document: "Left" in document.get("text", ""), sound=True, last_id=last_id)[1:]
    numbers = [int(identifier.rpartition("-")[2]) for identifier, _, _ in later]
    first = int(last_id.rpartition("-")[2]) + 1
    assert numbers == list(range(first, first + len(numbers)))

    sound = events(url, lambda name, _: name == "sound", sound=True)[-1][2]
    assert sound["rate"] == 24_000
    assert len(base64.b64decode(sound["pcm"])) > 2000


def test_pictures_are_delayed_and_a_slow_client_harms_nobody(running):
    host, url = running
    slow = []
    for path in ("mjpeg", "stream?sound=1"):
        connection = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port))
        connection.sendall(f"GET /api/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        slow.append(connection)  # and it never reads
    until(lambda: "sca_watch_streams 2.0" in httpx.get(f"{url}/metrics").text)
    shown = parts(url, 50)
    indices = [int(head["x-index"]) for head, _ in shown]
    assert indices == sorted(set(indices))
    assert indices[-1] - indices[0] <= 60  # most of the pictures of these two seconds
    newest = host.session.run.display.latest()
    assert newest.time_us - int(shown[-1][0]["x-time-us"]) >= 400_000
    assert mean_level(picture(shown[-1][1])) > 0
    for connection in slow:
        connection.close()
    until(lambda: "sca_watch_streams 0.0" in httpx.get(f"{url}/metrics").text)


def parts(url, count):
    """The first parts of the picture stream: their headers and JPEG files."""
    found, data = [], b""
    with httpx.stream("GET", f"{url}/api/mjpeg") as response:
        boundary = f"--{response.headers['content-type'].partition('boundary=')[2]}\r\n".encode()
        for block in response.iter_bytes():
            data += block
            while data.count(boundary) >= 2:
                _, part, rest = data.split(boundary, 2)
                data = boundary + rest
                head, _, body = part.partition(b"\r\n\r\n")
                fields = dict(line.lower().split(": ") for line in head.decode().split("\r\n"))
                assert int(fields["content-length"]) == len(body) - 2
                found.append((fields, body[:-2]))
            if len(found) >= count:
                return found
    raise AssertionError("the stream ended")


def test_frame_near_a_time(running):
    host, url = running
    newest = host.session.run.display.latest()
    response = httpx.get(f"{url}/api/frame", params={"time_s": newest.time_us / 1e6})
    assert (response.headers["content-type"], response.headers["x-index"]) == ("image/jpeg", str(newest.index))
    delayed = httpx.get(f"{url}/api/frame")
    assert int(delayed.headers["x-index"]) < host.session.run.display.latest().index
    assert httpx.get(f"{url}/api/frame", params={"time_s": "nan"}).status_code == 422
    assert httpx.get(f"{url}/api/frame", params={"time_s": -1}).status_code == 422


def test_speech_streams_as_wav_from_now_on(running):
    _, url = running
    data = b""
    with httpx.stream("GET", f"{url}/api/audio-stream") as response:
        assert response.headers["content-type"] == "audio/wav"
        for block in response.iter_bytes():
            data += block
            if len(data) > 2 * 2 * 48_000:
                break
    assert data[:4] + data[8:12] == b"RIFFWAVE"
    samples = np.frombuffer(data[44 : len(data) // 2 * 2], "<i2")
    loud = np.abs(samples) > 1000
    assert 0.2 < loud.mean() < 0.9  # tones of 0.4 s, with pauses


def test_streams_are_limited(clip):
    with served(host_of(clip, serve__max_sessions=1)) as url, httpx.stream("GET", f"{url}/api/stream") as first:
        lines = first.iter_lines()  # held: its end closes the stream
        assert next(lines) == "event: status"
        assert httpx.get(f"{url}/api/mjpeg").status_code == 503


def test_options_of_the_terminal_are_refused_for_serve(clip):
    for option in (["--json"], ["--report"], ["--seconds", "1"]):
        result = sca("watch", str(clip), "--serve", *option)
        assert (result.returncode, "is not for --serve" in result.stderr) == (2, True)
    assert sca("watch").returncode == 2
    result = sca("watch", str(clip), "--serve", "--host", "0.0.0.0")
    assert (result.returncode, "key" in result.stderr) == (3, True)
