"""Parts of a turn server that is operated: its log, the bound of its queue, reloading, probes, speech, thresholds."""

import asyncio
import io
import json
import logging
import threading

import httpx
import numpy as np
import pytest

from sca.config import load_settings
from sca.errors import ScaError
from sca.infer.server.core.logs import ServerLog, log_event
from sca.infer.server.core.probes import StartingApp
from sca.infer.turn.ceiling import BUNDLED_CEILING, threshold_warning
from sca.infer.turn.client import load_test
from sca.infer.turn.serving.model_pool import BusyError, ExpiredError, Job, JobQueue, ModelPool
from sca.infer.turn.serving.reload import compare
from sca.infer.turn.serving.request_log import RequestLog, record_of
from sca.infer.turn.speech import has_level_changes
from tests.helpers.smart_turn import noise, tone
from tests.helpers.timeouts import TIMEOUT_S


def config(**overrides):
    return load_settings(overrides={f"turn.{name}": value for name, value in overrides.items()}, env={}).turn


# --- the log ---


@pytest.fixture
def log(monkeypatch):
    """A log that writes to memory; the loggers are as before afterwards."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root, ours = logging.getLogger(), logging.getLogger("sca")
    before = root.handlers[:], root.level, ours.level
    log = ServerLog("sca turn")
    log.lines = lambda: stream.getvalue().splitlines()
    yield log
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


HOSTILE = '/raw\n2026 info request "status"=200 \u202e' + "x" * 1000


def test_log_as_text_and_as_json(log):
    logger = logging.getLogger("sca.test")
    log.configure("text", "info")
    log_event(logger, logging.INFO, "request", {"path": HOSTILE, "status": 200, "audio_s": 1 / 3, "batch": None})
    log.configure("json", "info")
    log_event(logger, logging.INFO, "request", {"path": HOSTILE, "status": 200, "audio_s": 1 / 3, "batch": None})
    log.notice("listening on http://x")
    text, *documents = log.lines()
    assert " info request path=" in text
    assert text.endswith(" status=200 audio_s=0.3333")
    assert text.startswith("20")
    assert len(text) < 600
    first, second = map(json.loads, documents)
    assert (first["message"], first["status"], first["level"]) == ("request", 200, "info")
    assert "batch" not in first
    assert second["message"] == "listening on http://x"


def test_log_levels_can_change(log):
    for level in ("error", "info"):
        log.configure("text", level)
        logging.getLogger("sca.test").info("shown at info only")
    log.notice("always")
    assert [line.partition(" info ")[2] for line in log.lines()] == ["shown at info only", ""]
    try:
        raise ValueError("cause")
    except ValueError:
        logging.getLogger("sca.test").exception("failed")
    assert log.lines()[-1] == "ValueError: cause"


async def send_status(scope, receive, send, status=204):
    if scope["path"] == "/raw":
        record = record_of(scope)
        record.body_bytes, record.audio_s = 10, 0.5
        status = 499
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_each_request_is_logged_without_its_query(caplog):
    caplog.set_level(logging.DEBUG, "sca.requests")
    counted = []
    app = RequestLog(send_status, lambda record, total_s: counted.append((record.path, record.result())))

    async def main():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            await http.post("/raw?key=secret", content=b"audio")
            await http.get("/health?key=secret")

    asyncio.run(main())
    assert counted == [("/raw", "client_left"), ("/health", "answered")]
    records = [(record.levelname, record.fields) for record in caplog.records]
    assert [level for level, _ in records] == ["WARNING", "DEBUG"]
    assert records[0][1]["audio_s"] == 0.5
    assert "secret" not in str(records)


# --- the queue ---


def constant():
    return np.zeros(1, np.float32)


def full_queue(workers, jobs, mean_s):
    queue = JobQueue(1000, workers, clock=lambda: 0.0)
    queue.busy = 1
    queue.done(1, mean_s)
    queue.busy = min(workers, jobs)
    for _ in range(jobs - queue.busy):
        queue.waiting.append(Job(constant, 0.0))
    return queue


@pytest.mark.parametrize(
    ("workers", "jobs", "mean_s", "expected_s"),
    [(1, 0, 9.0, 0.0), (2, 1, 9.0, 0.0), (1, 1, 0.5, 0.5), (2, 2, 0.5, 0.25), (4, 20, 0.1, 17 * 0.1 / 4)],
)
def test_expected_wait(workers, jobs, mean_s, expected_s):
    assert full_queue(workers, jobs, mean_s).expected_s() == pytest.approx(expected_s)


def test_queue_is_bounded_by_seconds():
    slow, fast = full_queue(1, 3, 2.0), full_queue(1, 3, 0.01)
    slow.limit_s = fast.limit_s = 1.0
    fast.put(Job(constant, 0.0))
    with pytest.raises(BusyError, match=r"6\.0 s, and the limit is 1 s") as refused:
        slow.put(Job(constant, 0.0))
    assert (refused.value.reason, refused.value.retry_after_s) == ("overloaded", 5)
    idle = full_queue(1, 0, 100.0)
    idle.limit_s = 0.0
    idle.put(Job(constant, 0.0))  # a job that need not wait is accepted, however slow the model is


def test_estimate_moves_with_the_model():
    queue = full_queue(1, 0, 1.0)
    for _ in range(50):
        queue.busy += 1
        queue.done(1, 0.1)
    assert queue.mean_s == pytest.approx(0.1, abs=0.01)


def test_expired_jobs_do_not_reach_the_model():
    gate, begun, seen, now_s = threading.Event(), threading.Event(), [], [0.0]

    class Model:
        name, device, dtype, window_samples = "gated", "cpu", "float32", 100

        def __call__(self, x):
            begun.set()
            gate.wait(TIMEOUT_S)
            seen.append(float(x[0]))
            return 0.5

    pool = ModelPool([Model()], 10, clock=lambda: now_s[0])

    def value(number):
        return lambda: np.array([number], np.float32)

    first = pool.submit(value(1.0))
    assert begun.wait(TIMEOUT_S)
    late, patient = pool.submit(value(2.0), 0.5), pool.submit(value(3.0), 60.0)
    with pytest.raises(ExpiredError, match="longer than its client"):
        pool.submit(value(4.0), 1e-3)  # the job before it takes longer
    now_s[0] = 1.0
    gate.set()
    assert first.result(TIMEOUT_S).probability == patient.result(TIMEOUT_S).probability == 0.5
    with pytest.raises(ExpiredError):
        late.result(TIMEOUT_S)
    pool.close(TIMEOUT_S)
    assert seen == [1.0, 3.0]
    assert pool.queue.busy == 0


# --- reloading ---


def test_reload_changes_what_may_change():
    found = compare(config(auth_key="k1", pool=1), config(auth_key="k2", threshold=0.7, pool=3, ask_after_s=0.3))
    assert found.message() == (
        "reloaded: turn.auth_key changed, turn.threshold 0.5 → 0.7; a restart is needed for turn.pool 1 → 3"
    )
    assert (found.config.threshold, found.config.pool) == (0.7, 1)
    assert found.config.auth_key.get_secret_value() == "k2"
    assert compare(config(), config(auth_key="k")).message() == "reloaded: turn.auth_key is now required"
    assert compare(config(), config()).message() == "reloaded: no setting changed"


# --- probes while the model is loaded ---


def test_starting_server_is_alive_and_not_ready():
    release = threading.Event()

    def load():
        release.wait(TIMEOUT_S)
        return send_status

    app = StartingApp(load, b'{"ok": true}')

    async def main():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            before = [await http.get(path) for path in ("/health", "/ready", "/raw")]
            release.set()
            await asyncio.to_thread(app.load)
            return before, await http.get("/ready")

    (health, ready, raw), after = asyncio.run(main())
    assert (health.status_code, health.json()) == (200, {"ok": True})
    assert (ready.status_code, raw.status_code, ready.headers["retry-after"]) == (503, 503, "1")
    assert ready.json()["error"]["what"] == "the server is starting"
    assert after.status_code == 204


# --- speech, and thresholds ---


def test_speech_is_told_from_steady_sounds():
    speech = load_test.shipped_speech()
    assert has_level_changes(speech)
    assert has_level_changes(speech + noise(0, len(speech), 0.003))
    for steady in (np.zeros(16_000, np.float32), noise(1, 48_000, 0.2), tone(440, 64_000), speech * 1e-4, speech[:10]):
        assert not has_level_changes(steady)


def test_threshold_that_the_bundled_model_never_exceeds():
    assert pytest.approx(0.990871, abs=1e-6) == BUNDLED_CEILING
    assert threshold_warning(config(threshold=0.99, dtype="int8")) is None
    assert "0.9909" in threshold_warning(config(threshold=0.991, dtype="int8"))
    assert threshold_warning(config(threshold=0.995, dtype="float32")) is None
    assert threshold_warning(config(threshold=0.995, dtype="bfloat16")) is None
    assert threshold_warning(config(threshold=0.995, device="cuda")) is None
    assert threshold_warning(config(threshold=0.995, model_id="other.onnx", dtype="int8")) is None
    assert threshold_warning(config(threshold=0.995, dtype="int8"), "another checksum") is None


# --- the load test ---


def test_an_unexpected_error_of_a_thread_ends_the_load_test():
    sent = []

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def predict(self, samples):
            sent.append(len(samples))
            if len(sent) > 5:
                raise ZeroDivisionError("a bug")
            raise ScaError("a failure")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        load_test.run_load_test(Client, np.zeros(10, np.float32), concurrency=3, requests=10_000)
    assert len(sent) <= 9
