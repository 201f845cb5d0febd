"""A turn server as its operator and clients of others see it: a real process, its log, reloads, probes and its end."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import pytest

from sca.infer.turn.client.load_test import shipped_speech
from tests.helpers.timeouts import TIMEOUT_S, until

KEY, NEW_KEY = "s3same-0pen", "an0ther-k3y"


def saved(x):
    out = io.BytesIO()
    np.save(out, x)
    return out.getvalue()


SPEECH = saved(shipped_speech()[: 16_000 * 2])


class Served:
    """A running server.

    Attributes:
        url: Its address.
        process: Its process.
        settings: Its settings file.
    """

    def __init__(self, process, log, settings):
        self.process, self._log, self.settings = process, log, settings
        until(lambda: process.poll() is not None or "listening on" in log.read_text())
        self.url = re.search(r"listening on (http://[\d.:]+)", log.read_text())[1]
        self.address = ("127.0.0.1", int(self.url.rpartition(":")[2]))

    def text(self):
        return self._log.read_text()

    def requests(self):
        """Return the documents of the requests in a JSON log."""
        documents = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [document for document in documents if document["message"] == "request"]

    def reload(self, text, expected):
        """Change the settings, and wait until the log has `expected`."""
        self.settings.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: expected in self.text())

    def ask(self, key=KEY, **options):
        headers = {"Authorization": f"Key {key}", **options.pop("headers", {})}
        return httpx.post(f"{self.url}/raw", content=SPEECH, headers=headers, **options)


@contextmanager
def serving(folder, settings, *options):
    path, log = folder / "sca.toml", folder / "log"
    path.write_text(settings)
    command = [sys.executable, "-m", "sca", "turn", "serve", "--port", "0", "--config", str(path), *options]
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            yield Served(process, log, path)
        finally:
            process.kill()


def settings(key=KEY, **others):
    values = {"auth_key": key, "pool": 1, "log_format": "json", "log_level": "debug", **others}
    return "[turn]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), settings()) as server:
        yield server


def with_curl(server):
    command = ["curl", "-sS", "-H", f"Authorization: Key {KEY}", "--data-binary", "@-", f"{server.url}/raw"]
    command += ["-H", "Content-Type: application/octet-stream"]
    done = subprocess.run(command, input=SPEECH, capture_output=True, check=True, timeout=TIMEOUT_S)
    return json.loads(done.stdout)


def with_aiohttp(server):
    async def main():
        headers = {"Authorization": f"Key {KEY}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.url}/raw", data=SPEECH, headers=headers) as r,
        ):
            return await r.json()

    return asyncio.run(main())


@pytest.mark.parametrize("ask", [lambda server: server.ask().json(), with_curl, with_aiohttp])
def test_clients_of_others_get_the_seed_format(served, ask):
    before = len(served.requests())
    document = ask(served)
    assert {"prediction", "probability", "metrics"} <= set(document)
    assert {"inference_time", "total_time"} <= set(document["metrics"])
    assert document["speech"] is True
    until(lambda: len(served.requests()) > before)
    line = served.requests()[-1]
    assert (line["method"], line["path"], line["status"], line["outcome"]) == ("POST", "/raw", 200, "answered")
    assert (line["client"], line["bytes"], line["audio_s"], line["batch"]) == ("127.0.0.1", len(SPEECH), 2.0, 1)
    assert line["queue_s"] >= 0 < line["model_s"] <= line["total_s"]


def test_silence_is_answered_as_without_speech(served):
    response = httpx.post(
        f"{served.url}/raw", content=saved(np.zeros(16_000, np.float32)), headers={"Authorization": f"Key {KEY}"}
    )
    assert (response.json()["prediction"], response.json()["speech"]) == (1, False)


def test_log_tells_clients_that_left_from_bad_ones(served):
    head = (
        f"POST /raw?key={KEY} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Key {KEY}\r\nContent-Length: 900000\r\n\r\n"
    )
    with socket.create_connection(served.address) as client:
        client.sendall(head.encode() + SPEECH[:50_000])
    assert served.ask("wrong").status_code == 401
    assert served.ask(headers={"X-Timeout": "0"}).status_code == 504
    assert httpx.post(f"{served.url}/raw", content=b"x", headers={"Authorization": f"Key {KEY}"}).status_code == 400
    outcomes = {"client_left": 499, "unauthorized": 401, "expired": 504, "rejected": 400}
    until(lambda: outcomes.items() <= {line["outcome"]: line["status"] for line in served.requests()}.items())
    page = httpx.get(f"{served.url}/metrics", headers={"Authorization": f"Key {KEY}"}).text
    for outcome in outcomes:
        assert f'sca_turn_outcomes_total{{outcome="{outcome}"}} 1.0' in page
    assert KEY not in served.text()


def test_probes_need_no_key(served):
    for path in ("/health", "/ready"):
        assert httpx.get(f"{served.url}{path}").json() == {"ok": True}
        head = httpx.head(f"{served.url}{path}")
        assert (head.status_code, head.content) == (200, b"")


def test_status_and_metrics_name_the_model(served):
    headers = {"Authorization": f"Key {KEY}"}
    status = httpx.get(f"{served.url}/status", headers=headers).json()
    assert Path(status["file"]).is_file()
    assert len(status["sha256"]) == 64
    assert (status["window_s"], status["providers"], status["threads"]) == (8.0, ["CPUExecutionProvider"], 1)
    assert status["cores"] >= 1
    assert status["runtime"].startswith("onnxruntime ")
    assert status["ready"] is True
    page = httpx.get(f"{served.url}/metrics", headers=headers).text
    build = next(line for line in page.splitlines() if line.startswith("sca_build_info{"))
    assert status["sha256"] in build
    assert status["runtime"] in build
    names = ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"]
    names += ["process_start_time_seconds", "sca_turn_queue_seconds_bucket", "sca_turn_inference_seconds_bucket"]
    names += ["sca_turn_batch_size_bucket", "sca_turn_expected_wait_seconds", "sca_turn_model_cpu_seconds_total"]
    for name in names:
        assert f"\n{name}" in page


def test_reload(served):
    try:
        served.reload(settings(NEW_KEY, threshold=0.993, pool=2, dtype="int8"), "a restart is needed")
        line = next(line for line in served.text().splitlines() if "a restart is needed" in line)
        for change in (
            "turn.auth_key changed",
            "turn.threshold 0.5 → 0.993",
            "for turn.dtype auto → int8, turn.pool 1 → 2",
        ):
            assert change in line
        assert "no turn is finished" in served.text() or "float32" in served.text()
        assert served.ask().status_code == 401
        assert served.ask(NEW_KEY).json()["prediction"] == 0
        served.reload("[turn]\nthreshold = 7\n", "not reloaded, the old settings remain")
        assert served.ask(NEW_KEY).status_code == 200
        served.reload(settings(NEW_KEY, requests_per_minute=1), "turn.requests_per_minute none → 1")
        statuses = [served.ask(NEW_KEY) for _ in range(2)]
        assert [response.status_code for response in statuses] == [200, 429]
        assert 1 <= int(statuses[1].headers["retry-after"]) <= 61
        assert NEW_KEY not in served.text()
    finally:
        served.reload(settings(), "turn.requests_per_minute 1 → none")


def test_server_that_drains_answers_and_is_not_ready(tmp_path):
    with serving(tmp_path, settings(log_format="text", log_level="info", drain_s=3600.0)) as server:
        assert httpx.get(f"{server.url}/ready").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
        assert httpx.get(f"{server.url}/ready").json()["error"]["what"] == "the server is stopping"
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert server.ask().status_code == 200
        server.process.send_signal(signal.SIGTERM)  # a second signal does not wait
        assert server.process.wait(TIMEOUT_S) == 0
        lines = server.text().splitlines()
    assert lines[-1] == "sca turn: stopped"
    assert re.search(
        r"^20\S+Z info request client=127\.0\.0\.1 method=POST path=/raw status=200 outcome=answered", lines[1]
    )
