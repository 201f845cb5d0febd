"""The turn server, as an ASGI application and as a real process."""

import asyncio
import contextlib
import gc
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from functools import partial

import httpx
import numpy as np
import pytest

from sca.config import load_settings
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.limits import read_body
from sca.infer.turn.models.precision import has_vnni
from sca.infer.turn.serving.app import make_app
from sca.infer.turn.serving.model_pool import ModelPool
from sca.infer.turn.serving.service import TurnService, load_service
from tests.helpers.command import sca
from tests.helpers.smart_turn import GOLDEN, TOLERANCE, WAVEFORMS
from tests.helpers.timeouts import TIMEOUT_S

WAVE = WAVEFORMS["falling"]


def saved(x, **options):
    out = io.BytesIO()
    np.save(out, x, **options)
    return out.getvalue()


def config(**overrides):
    return load_settings(overrides={f"turn.{name}": value for name, value in overrides.items()}, env={}).turn


class MeanModel:
    """A model that returns the mean of its input after its event is set, and fails if that is below 0."""

    name, device, dtype, window_samples = "mean", "cpu", "float32", 16_000

    def __init__(self, gate=None):
        self.gate = gate

    def __call__(self, x):
        if self.gate is not None:
            self.gate.wait(TIMEOUT_S)
        mean = float(x.mean())
        if mean < 0:
            raise RuntimeError("cannot")
        return mean


def client(app, **headers):
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


@contextlib.contextmanager
def app_of(models, **overrides):
    """Run the application with models. Yields a function that runs a coroutine function with a client."""
    settings = config(**overrides)
    pool = ModelPool(models, settings.max_queue)
    service = TurnService(
        pool, threshold=settings.threshold, window_samples=16_000, max_samples=16_000, facts={"model": "mean"}
    )
    app = make_app(service, settings)

    def run(use, **headers):
        async def inside():
            async with client(app, **headers) as http:
                return await use(http)

        return asyncio.run(inside())

    try:
        yield run
    finally:
        service.close(TIMEOUT_S)


def level(value, samples=1600):
    return saved(np.full(samples, value, np.float32))


# The header keeps its length, so that it is valid.
TEN_GIGABYTES = level(0.5).replace(b"(1600,), }      ", b"(2500000000,), }")


def post(run, body, **headers):
    return run(
        lambda http: http.post("/raw", content=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    )


@pytest.fixture(scope="module")
def mean():
    with app_of([MeanModel()]) as run:
        yield run


def what(response):
    document = response.json()
    assert set(document) == {"error"}
    assert document["error"]["status"] == response.status_code
    return document["error"]["what"]


def test_response_format(mean):
    response = post(mean, level(0.75))
    assert response.status_code == 200
    document = response.json()
    assert (document["prediction"], document["probability"]) == (1, 0.75)
    times = document["metrics"]
    assert 0 < times["inference_time"] <= times["total_time"]
    assert post(mean, level(0.25)).json()["prediction"] == 0


def test_threshold_header(mean):
    assert post(mean, level(0.75), X_Threshold="0.8").json()["prediction"] == 0
    assert post(mean, level(0.25), X_Threshold="0").json()["prediction"] == 1
    for bad in ("x", "nan", "-0.1", "1.1", ""):
        response = post(mean, level(0.75), X_Threshold=bad)
        assert (response.status_code, "X-Threshold" in what(response)) == (422, True)


def test_sample_rate_header(mean):
    for rate_hz in (1000, 8000, 44_100, 48_000, 192_000):
        response = post(mean, level(0.5, rate_hz), X_Sample_Rate=str(rate_hz))
        assert response.json()["probability"] == pytest.approx(0.5, abs=0.01), rate_hz
    assert post(mean, level(0.5, 1), X_Sample_Rate="192000").status_code == 200
    for bad in ("0", "999", "192001", "-16000", "16e3", "16000.0", "", "9" * 50, "१६०००".encode()):
        response = post(mean, level(0.5), X_Sample_Rate=bad)
        assert (response.status_code, "X-Sample-Rate" in what(response)) == (422, True)


def test_uses_only_the_last_seconds(mean):
    x = np.concatenate([np.full(50_000, 0.9, np.float32), np.full(16_000, 0.25, np.float32)])
    assert post(mean, saved(x)).json()["probability"] == pytest.approx(0.25, abs=1e-3)
    with app_of([MeanModel()]) as run:
        assert post(run, saved(x.astype(">f8"))).json()["probability"] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"RIFFxxxxWAVE", 400, "not an npy file"),
        (level(0.5)[:-4], 400, "cut short"),
        (level(0.5) + b"1234", 400, "longer"),
        (saved(np.array([{}], object), allow_pickle=True), 400, "pickled"),
        (saved(np.zeros(0, np.float32)), 422, "contains no samples"),
        (saved(np.zeros((9, 2), np.float32)), 422, "(9, 2)"),
        (saved(np.array([np.nan], np.float32)), 422, "NaN"),
        (TEN_GIGABYTES, 413, "10000000000 bytes"),
    ],
)
def test_rejects_bad_bodies_with_the_reason(mean, body, status, words):
    response = post(mean, body)
    assert (response.status_code, words in what(response)) == (status, True)


@pytest.mark.parametrize("x", [np.full(100, 0.5), np.full(100, 1 << 14, np.int16), np.full((1, 100), 0.5, ">f4")])
def test_accepts_other_number_formats(mean, x):
    assert post(mean, saved(x)).json()["probability"] == pytest.approx(0.5)


def test_content_types(mean):
    for kind in ("application/octet-stream", "application/x-npy", "Application/Octet-Stream; charset=binary"):
        assert post(mean, level(0.5), Content_Type=kind).status_code == 200
    for kind in ("application/json", "audio/wav", "multipart/form-data"):
        response = post(mean, level(0.5), Content_Type=kind)
        assert (response.status_code, kind in what(response)) == (415, True)
    assert post(mean, level(0.5), Content_Encoding="gzip").status_code == 415


def test_chunked_body(mean):
    async def pieces():
        body = level(0.75)
        for i in range(0, len(body), 100):
            yield body[i : i + 100]

    response = mean(lambda http: http.post("/raw", content=pieces()))
    assert response.json()["probability"] == 0.75


def test_rejects_large_bodies_declared_or_not():
    async def pieces():
        for _ in range(5):
            yield bytes(1000)

    with app_of([MeanModel()], max_body_bytes=4096) as run:
        assert post(run, level(0.5, 900)).status_code == 200
        response = post(run, level(0.5, 1100))
        assert (response.status_code, "4096 bytes" in what(response)) == (413, True)
        assert response.headers["connection"] == "close"
        assert run(lambda http: http.post("/raw", content=pieces())).status_code == 413


def test_read_body_times_out_in_bounded_memory():
    async def trickle():
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    async def flood():
        while True:
            yield bytes(1 << 16)

    async def main():
        with pytest.raises(RequestRejectedError, match=r"within 0\.1 s") as late:
            await read_body(trickle(), None, 1000, 0.1)
        assert (late.value.status, late.value.close) == (408, True)
        with pytest.raises(RequestRejectedError) as large:
            await read_body(flood(), "99", 1000, TIMEOUT_S)
        assert large.value.status == 413

    tracemalloc.start()
    try:
        asyncio.run(main())
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_keys():
    with app_of([MeanModel()], auth_key="k1") as run:
        for path in ("/status", "/metrics"):
            assert run(lambda http, path=path: http.get(path)).status_code == 401
        assert run(lambda http: http.get("/health")).json() == {"ok": True}
        assert run(lambda http: http.head("/health")).status_code == 200
        refused = post(run, level(0.5))
        assert (refused.status_code, "Authorization" in what(refused)) == (401, True)
        assert post(run, level(0.5), Authorization="Key k2").status_code == 401
        for header in ("Key k1", "Bearer k1"):
            assert post(run, level(0.5), Authorization=header).status_code == 200
            assert run(lambda http: http.get("/status"), authorization=header).json()["auth"] is True


def test_model_failure_is_a_500(mean, caplog):
    response = post(mean, level(-0.5))
    assert (response.status_code, "RuntimeError" in what(response)) == (500, True)
    assert "Traceback" in caplog.text
    assert post(mean, level(float(np.float32(1.5)))).status_code == 500  # not a probability


def test_a_failure_does_not_affect_other_requests(mean):
    async def all_at_once(http):
        values = [0.5, -0.5, 0.25, 0.75]
        return await asyncio.gather(*(http.post("/raw", content=level(value)) for value in values))

    assert [response.status_code for response in mean(all_at_once)] == [200, 500, 200, 200]


def test_unknown_paths_and_methods(mean):
    assert what(mean(lambda http: http.get("/nothing"))) == "GET /nothing: Not Found"
    assert mean(lambda http: http.get("/raw")).status_code == 405
    assert mean(lambda http: http.get("/docs")).status_code == 404


def test_overload_is_rejected_at_once(monkeypatch):
    gate = threading.Event()

    def no_timer(*_, **__):
        raise AssertionError("a timer was started")

    async def storm(http):
        accepted = [asyncio.create_task(http.post("/raw", content=level(0.5))) for _ in range(4)]
        while (await http.get("/status")).json()["queue_depth"] < 3:
            await asyncio.sleep(0.01)
        # Rejected without waiting: no timer is started.
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "call_at", no_timer)
            refused = [await http.post("/raw", content=level(0.5)) for _ in range(40)]
        assert not any(task.done() for task in accepted)
        gate.set()
        return refused, await asyncio.gather(*accepted)

    with app_of([MeanModel(gate)], max_queue=3) as run:
        refused, accepted = run(storm)
        page = run(lambda http: http.get("/metrics")).text
    assert {response.status_code for response in refused} == {503}
    assert "4 requests" in what(refused[0])
    assert int(refused[0].headers["retry-after"]) >= 1
    assert [response.json()["probability"] for response in accepted] == [0.5] * 4
    assert 'sca_turn_requests_total{status="503"} 40.0' in page
    assert 'sca_turn_requests_total{status="200"} 4.0' in page


def test_pages_of_strangers_cannot_use_the_server():
    with app_of([MeanModel()], origins="https://friend.example/") as run:
        for headers, status in (
            ({"Host": "rebound.example"}, 421),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "https://friend.example"}, 200),
            ({"Origin": "http://127.0.0.1"}, 200),
        ):
            response = post(run, level(0.5), **headers)
            assert response.status_code == status, headers
            assert response.headers["x-content-type-options"] == "nosniff"
            allowed = response.headers.get("access-control-allow-origin")
            assert allowed == (headers["Origin"] if "friend" in headers.get("Origin", "") else None)


def test_disconnect_cancels_the_request():
    gate = threading.Event()
    means = []

    class RecordingModel(MeanModel):
        def __call__(self, x):
            means.append(round(float(x.mean()), 2))
            return super().__call__(x)

    settings = config()
    pool = ModelPool([RecordingModel(gate)], 8)
    service = TurnService(pool, threshold=0.5, window_samples=16_000, max_samples=16_000, facts={})
    app = make_app(service, settings)

    async def main():
        async with client(app) as http:
            stays = [asyncio.create_task(http.post("/raw", content=level(value))) for value in (0.5, 0.25)]
            while len(pool.queue.waiting) + pool.queue.busy < 2:
                await asyncio.sleep(0.01)
            left = asyncio.Event()
            messages = [{"type": "http.request", "body": level(0.9), "more_body": False}]

            async def receive():
                if messages:
                    return messages.pop()
                await left.wait()
                return {"type": "http.disconnect"}

            async def send(message):
                pass

            headers = [(b"host", b"127.0.0.1")]
            scope = {"type": "http", "method": "POST", "path": "/raw", "headers": headers, "query_string": b""}
            leaver = asyncio.create_task(app(scope, receive, send))
            while len(pool.queue.waiting) < 2:
                await asyncio.sleep(0.01)
            left.set()
            await leaver
            gate.set()
            return [response.status_code for response in await asyncio.gather(*stays)]

    try:
        assert asyncio.run(main()) == [200, 200]
    finally:
        service.close(TIMEOUT_S)
    assert means == [0.5, 0.25]
    requests = app.state.metrics.requests
    assert [requests.labels(status)._value.get() for status in ("200", "400", "499")] == [2, 0, 1]


def test_metrics_and_status(mean):
    post(mean, level(0.75))
    page = mean(lambda http: http.get("/metrics")).text
    for name in ("sca_turn_decisions_total", "sca_turn_inference_seconds_bucket", "sca_turn_waiting 0.0"):
        assert name in page
    status = mean(lambda http: http.get("/status")).json()
    assert {"ok", "model", "pool", "queue_depth", "busy", "queue_limit", "threshold", "uptime_s"} <= set(status)


def test_real_model():
    settings = config(pool=1)
    service = load_service(settings)
    app = make_app(service, settings)

    async def main():
        async with client(app) as http:
            status = (await http.get("/status")).json()
            return status, (await http.post("/raw", content=saved(WAVE))).json()

    try:
        status, document = asyncio.run(main())
    finally:
        service.close()
    assert document["probability"] == pytest.approx(GOLDEN["falling"], abs=TOLERANCE)
    assert document["prediction"] == 0
    assert (status["version"], status["device"]) == ("smart-turn-v3", "cpu")
    assert status["dtype"] == ("float32" if has_vnni() is False else "int8")
    assert status["precision"].startswith(f"{status['dtype']}: the ")
    assert (status["buckets"], status["compiled"], status["pool"]) == ([1], False, 1)


class PeakModel(MeanModel):
    """A model that returns a probability for any input."""

    def __call__(self, x):
        return min(1.0, float(np.abs(x).max()))


def test_bad_requests_cause_no_5xx_and_no_leaks(caplog):
    caplog.set_level("CRITICAL", "sca.requests")  # caplog keeps every record
    with app_of([PeakModel()]) as run:
        send_bad_requests(run)


def send_bad_requests(run):
    chance = random.Random(5)

    def request():
        body = bytearray(level(0.5, chance.randint(0, 20)))
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(len(body))
            body[at : at + chance.randint(0, 9)] = chance.randbytes(chance.randint(0, 9))
        headers = {}
        if chance.random() < 0.3:
            headers["X-Sample-Rate"] = chance.choice(["8000", "0", "x", "48000", "-1", "\x7f"])
        if chance.random() < 0.3:
            headers["X-Threshold"] = chance.choice(["0.5", "", "2", "inf", "1e-400"])
        if chance.random() < 0.2:
            headers["Content-Type"] = chance.choice(["text/plain", "application/x-npy", ";", "\xff"])
        return bytes(body), {name: value.encode("latin-1") for name, value in headers.items()}

    async def many(http):
        found = set()
        for _ in range(300):
            body, headers = request()
            found.add((await http.post("/raw", content=body, headers=headers)).status_code)
        return found

    run(many)
    tracemalloc.start()
    try:
        run(many)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        statuses = run(many)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert statuses == {200, 400, 415, 422}
    assert after - before < 100_000


# --- the process ---


@contextlib.contextmanager
def server(*options, env=None):
    """`sca turn serve` on a free port. Yields the process and its URL."""
    command = [sys.executable, "-m", "sca", "turn", "serve", "--port", "0", "--pool", "1", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}) as process:
        try:
            line = process.stderr.readline()
            found = re.search(r"listening on (http://\S+)", line)
            assert found, line + process.stderr.read()
            yield process, found[1]
        finally:
            process.kill()


def test_process_survives_bad_clients_and_ends_cleanly():
    body = saved(WAVE)
    with server("--set", "turn.body_timeout_s=4", env={"AUTH_KEY": "hush", "THRESHOLD": "0.001"}) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        headers = {"Authorization": "Key hush"}
        with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
            assert http.get("/health").json() == {"ok": True}
            document = http.post("/raw", content=body).json()
            assert document["probability"] == pytest.approx(GOLDEN["falling"], abs=TOLERANCE)
            assert document["prediction"] == 1  # the THRESHOLD of the environment
            assert http.post("/raw", content=body, headers={"Authorization": "Key x"}).status_code == 401
            assert http.post("/raw", content=bytes(9_000_000)).status_code == 413

            with (
                socket.create_connection((host, int(port))) as silent,
                socket.create_connection((host, int(port))) as slow,
            ):
                silent.settimeout(TIMEOUT_S)
                slow.settimeout(TIMEOUT_S)
                slow.sendall(
                    b"POST /raw HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Key hush\r\nContent-Length: 100\r\n\r\nabc"
                )
                assert silent.recv(100) == b""  # its head did not arrive
                assert b"408" in slow.recv(1000)  # its body did not arrive
            assert http.post("/raw", content=body).status_code == 200

        assert process.poll() is None


def test_open_request_is_answered_during_shutdown():
    body = saved(WAVE)
    with server() as (process, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as open_request:
            open_request.settimeout(TIMEOUT_S)
            open_request.sendall(
                f"POST /raw HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1000]
            )
            # A later connection was answered, so the earlier one has been read.
            assert httpx.get(f"{url}/health").status_code == 200
            process.send_signal(signal.SIGTERM)
            with pytest.raises(OSError, match="refused"):  # noqa: PT012 - until connections are refused
                while True:
                    socket.create_connection((host, int(port)), timeout=TIMEOUT_S).close()
                    time.sleep(0.01)
            open_request.sendall(body[1000:])
            assert open_request.recv(1000).startswith(b"HTTP/1.1 200")
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr.read().splitlines()[-1] == "sca turn: stopped"


def test_large_heads_and_many_connections_are_rejected():
    with server("--set", "turn.max_connections=2") as (process, url):
        host, port = url.removeprefix("http://").split(":")
        connected = partial(socket.create_connection, (host, int(port)))
        with connected() as large:
            large.sendall(b"POST /raw HTTP/1.1\r\nX: " + bytes([65]) * 70_000)
            assert large.recv(1000).startswith(b"HTTP/1.1 431")
        with connected(), connected(), connected() as third:
            third.settimeout(TIMEOUT_S)
            third.sendall(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head, _, rest = third.recv(1000).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503")
            assert "2 connections" in json.loads(rest)["error"]["what"]
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0


def test_startup_errors():
    done = sca("turn", "serve", "--host", "0.0.0.0")
    assert (done.returncode, "without a key" in done.stderr, "--insecure" in done.stderr) == (3, True, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = sca("turn", "serve", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, "cannot listen on 127.0.0.1" in done.stderr) == (3, True)
    done = sca("turn", "serve", "--port", "0", "--model", "/nowhere.onnx")
    assert (done.returncode, "the turn model /nowhere.onnx does not exist" in done.stderr) == (5, True)
