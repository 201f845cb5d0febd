"""The turn server in the background, by commands, functions and scripts."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.errors import UsageError
from sca.infer.turn import predictor
from sca.infer.turn.client import TurnClient
from sca.infer.turn.daemon import control, process_id
from sca.infer.turn.daemon.log_rotation import RotatingLog, follow, tail
from sca.infer.turn.daemon.state_dir import ServerRecord, StateDir
from tests.helpers.ports import refusing_port, reserved_port
from tests.helpers.timeouts import TIMEOUT_S, until

ROOT = Path(__file__).resolve().parents[2]

STUB = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
port, does = int(sys.argv[sys.argv.index("--port") + 1]), sys.argv[1]
print("stub started", does, flush=True)
if does == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if does == "polite":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stub ended"))
if does == "fail":
    sys.exit(4)
if does == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if does == "slow":
    time.sleep(60)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"ok": True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch):
    """Give the commands timeouts for a busy machine."""
    monkeypatch.setattr(predictor.open_predictor, "__defaults__", (None, None, TIMEOUT_S))


def sca(*arguments, **env):
    """Run `sca turn` in this process, which is faster. The server is a process of its own all the same."""
    result = CliRunner().invoke(app, ["turn", *map(str, arguments)], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def sca_process(*arguments):
    return run([sys.executable, "-m", "sca", "turn", *map(str, arguments)], ROOT, {})


def script(name, *arguments, cwd, **env):
    return run(["bash", str(ROOT / "scripts" / name), *map(str, arguments)], cwd, env)


def run(command, cwd, env):
    everything = os.environ | {"PYTHONPATH": str(ROOT)} | env
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=everything)


@pytest.fixture
def state_dir(tmp_path):
    """A state directory; a server that runs there is stopped after the test."""
    state_dir = StateDir(tmp_path / "state")
    yield state_dir
    server = state_dir.running()
    if server is not None:
        process_id.terminate(server.pid, server.since, 2.0)


@pytest.fixture
def stub(tmp_path):
    path = tmp_path / "stub_server.py"
    path.write_text(STUB)

    def service(does="serve", port=0):
        return control.ServerCommand([sys.executable, str(path), does], "stub_server", "127.0.0.1", port)

    return service


def start_stub(service, state_dir, ready_s=TIMEOUT_S):
    return control.start(service, state_dir, ready_s, control.LogLimits())


# --- the real server, by commands ---


def test_server_life_cycle(state_dir, tmp_path):
    at = ("--state-dir", state_dir.path)
    started = sca_process("start", *at, "--port", "0")  # as the documentation has it, with no option for `serve`
    assert started.returncode == 0, started.stderr
    server = state_dir.running()
    assert started.stdout == f"{server.url} process {server.pid}, log {state_dir.log}\n"
    assert "warm: 3 of 3 requests answered" in started.stderr

    again = sca("start", *at)
    assert again.exit_code == 2
    assert f"process {server.pid}" in again.stderr

    measured = sca("bench", *at, "--requests", "6", "--concurrency", "2", "--json")
    assert measured.exit_code == 0, measured.stderr
    document = json.loads(measured.stdout)
    assert (document["requests"], document["answered"], document["concurrency"]) == (6, 6, 2)
    assert document["errors"] == {}
    assert 0 < document["p50_ms"] <= document["p99_ms"]

    sound = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))
    answers = [json.loads(sca("ask", sound, "--json", *url).stdout) for url in (("--url", server.url), ())]
    assert answers[0]["probability"] == pytest.approx(answers[1]["probability"], abs=1e-6)
    assert answers[0]["finished"] == answers[1]["finished"] == (answers[0]["probability"] > 0.5)
    assert answers[0]["seconds"] == 8.0

    assert "listening on" in sca("logs", *at).stdout
    bystander = state_dir.path / "notes.txt"
    bystander.write_text("mine")
    stopped = sca("stop", "--purge", *at)
    assert stopped.exit_code == 0
    assert f"process {server.pid} has ended" in stopped.stdout
    assert list(state_dir.path.iterdir()) == [bystander], "only its own files are removed"
    assert process_id.start_time(server.pid) is None
    assert sca("stop", *at).stdout == "no turn server runs here\n"


@pytest.fixture
def port():
    with reserved_port() as number:
        yield number


def test_restarts_at_the_same_port_after_a_kill(port, state_dir):
    at = ("--state-dir", state_dir.path)
    options = ("--port", port, "--pool", "1", "--no-warmup")
    assert sca("start", *at, *options).exit_code == 0
    first = state_dir.running()
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: state_dir.running() is None)
    down = sca("bench", *at, "--requests", "2", "--url", first.url)
    assert down.exit_code == 6
    assert "cannot reach" in down.stderr
    again = sca("start", *at, *options)
    assert again.exit_code == 0, again.stderr
    assert "is no longer running" in again.stderr
    second = state_dir.running()
    assert (second.url, second.pid != first.pid) == (first.url, True)
    assert sca("stop", *at).exit_code == 0


def test_keys(state_dir):
    at = ("--state-dir", state_dir.path)
    started = sca("start", *at, "--port", "0", "--pool", "1", AUTH_KEY="sésame 1")
    assert started.exit_code == 0, started.stderr
    assert "warm: 3 of 3" in started.stderr
    server = state_dir.running()
    assert "sésame" not in process_id.command_line(server.pid) + (state_dir.path / "server.json").read_text()
    for key, code in (("wrong", 3), (None, 3), ("sésame 1", 0)):
        env = {} if key is None else {"AUTH_KEY": key}
        done = sca("warmup", "--requests", "1", "--url", server.url, **env)
        assert done.exit_code == code, done.stderr
        assert ("answered 401" in done.stderr) == (code == 3)
    sound = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))
    assert sca("ask", sound, "--url", server.url).exit_code == 3


def test_start_at_a_port_in_use(state_dir):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = sca("start", "--state-dir", state_dir.path, "--port", port)
    assert done.exit_code == 3
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert state_dir.running() is None


def test_start_shows_why_the_server_failed(state_dir, tmp_path):
    done = sca("start", "--state-dir", state_dir.path, "--port", "0", "--model", tmp_path / "none.onnx")
    assert done.exit_code == 5
    reason = f"the turn model {tmp_path / 'none.onnx'} does not exist"
    error = f"sca: the turn server ended with code 5 before it was ready: {reason} (log: {state_dir.log})\n"
    assert done.stderr == error
    assert state_dir.running() is None
    assert not state_dir.is_stale()


def test_start_with_an_unknown_option(state_dir):
    done = sca("start", "--state-dir", state_dir.path, "--port", "0", "--nonsense")
    assert done.exit_code == 2
    assert "nonsense" in done.stderr
    assert not state_dir.path.exists()


def test_options_of_start_reach_the_server(state_dir):
    options = ("--threshold", "0.995", "--auth-key", "sesame", "--pool", "1", "--log-level", "error")
    started = sca("start", "--state-dir", state_dir.path, "--port", "0", "--set", "turn.dtype=int8", *options)
    assert started.exit_code == 0, started.stderr
    assert started.stderr.startswith("turn.threshold is 0.995, and the highest probability")
    assert "warm: 3 of 3" in started.stderr, "with the key"
    with TurnClient(state_dir.running().url, auth_key="sesame") as client:
        assert not client.predict(np.zeros(16_000, np.float32), 16_000).finished
    assert sca("stop", "--state-dir", state_dir.path).exit_code == 0


# --- commands without a server ---


def test_commands_without_a_server():
    sound = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))
    with refusing_port() as port:
        for command in (("ask", sound), ("watch", "--file", sound), ("warmup",)):
            done = sca(*command, "--url", f"http://127.0.0.1:{port}")
            assert done.exit_code == 6, done.stderr
            assert "Connection refused" in done.stderr


def test_watch_file_is_deterministic(tmp_path):
    import soundfile

    from sca.infer.turn.client.load_test import shipped_speech

    path = tmp_path / "speech.wav"
    soundfile.write(path, shipped_speech()[: 16_000 * 5], 16_000)
    runs = [once("watch", "--file", path, "--json") for once in (sca_process, sca)]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stderr == ""
    events = [json.loads(line) for line in runs[0].stdout.splitlines()]
    assert {event["type"] for event in events} == {"asked", "over", "end"}
    assert {event["schema"] for event in events} == {"sca.turn.watch/1"}
    over = [event for event in events if event["type"] == "over"]
    assert events[-1]["turns"] == len(over) > 0
    assert all(event["delay_s"] >= 0.2 for event in over)
    assert "turn 0 over" in sca("watch", "--file", path).stdout
    assert sca("watch").exit_code == sca("watch", "--mic", "--file", path).exit_code == 2


# --- a stub server, by functions ---


def test_start_and_stop(state_dir, stub):
    server = start_stub(stub(), state_dir)
    assert state_dir.running() == server
    assert TurnClient(server.url).healthy()
    until(lambda: "stub started serve" in tail(state_dir.log, 10))
    with pytest.raises(UsageError, match=f"process {server.pid}"):
        start_stub(stub(), state_dir)
    assert control.stop(state_dir) == control.StopResult(server, killed=False)
    assert control.stop(state_dir) == control.StopResult(None)
    assert process_id.start_time(server.pid) is None


def test_kills_a_server_that_ignores_sigterm(state_dir, stub):
    server = start_stub(stub("stubborn"), state_dir)
    assert control.stop(state_dir, grace_s=0.3) == control.StopResult(server, killed=True)
    assert process_id.start_time(server.pid) is None


class ClockAfterLog:
    """Replaces the module `time`: time passes only once there is something in the log."""

    sleep = staticmethod(time.sleep)

    def __init__(self, log):
        self.log = log

    def monotonic(self):
        return time.monotonic() + (1e6 if tail(self.log, 1) else 0)


@pytest.mark.parametrize(
    ("does", "code", "text"), [("fail", 4, "with code 4"), ("die", 6, "by signal 9"), ("slow", 6, "not ready within")]
)
def test_start_fails_if_the_server_is_not_ready(state_dir, stub, monkeypatch, does, code, text):
    if does == "slow":
        monkeypatch.setattr(control, "time", ClockAfterLog(state_dir.log))
    with pytest.raises(Exception, match=text) as caught:
        start_stub(stub(does), state_dir)
    assert caught.value.exit_code == code
    assert str(state_dir.log) in caught.value.message
    if does != "slow":
        assert f"before it was ready: stub started {does}" in caught.value.message
    assert list(state_dir.path.glob("server.json")) == []
    assert state_dir.running() is None


def test_rejects_a_concurrent_start(state_dir, stub):
    with state_dir.lock(), pytest.raises(UsageError, match="in progress"):
        start_stub(stub(), state_dir)


@pytest.mark.parametrize("wrong", ["number given out again", "other command", "no JSON", "a list", "half of it"])
def test_detects_stale_records(state_dir, wrong):
    state_dir.create()
    since = process_id.start_time(os.getpid())
    mine = ServerRecord(os.getpid(), since, "http://127.0.0.1:1", "pytest")
    state_dir.write_record(mine)
    assert state_dir.running() == mine or "pytest" not in process_id.command_line(os.getpid())
    record = state_dir.path / "server.json"
    match wrong:
        case "number given out again":
            state_dir.write_record(ServerRecord(os.getpid(), "1", mine.url, ""))
        case "other command":
            state_dir.write_record(ServerRecord(os.getpid(), since, mine.url, "another turn serve"))
        case "no JSON":
            record.write_text("{")
        case "a list":
            record.write_text("[]")
        case "half of it":
            record.write_text(json.dumps({"pid": os.getpid()}))
    assert state_dir.running() is None
    assert state_dir.is_stale()
    assert control.stop(state_dir) == control.StopResult(None), "and the other process is still running"
    assert not state_dir.is_stale()


def test_purge_removes_only_its_own_files(state_dir):
    state_dir.create()
    names = ["server.json", "server.log", "server.log.1", "server.log.12", "lock"]
    others = ["server.log.old", "server.logs", "notes", "server.log.1.gz"]
    for name in names + others:
        (state_dir.path / name).write_text("x")
    (state_dir.path / "server.log.3").mkdir()
    assert sorted(path.name for path in state_dir.purge()) == sorted(names)
    assert sorted(path.name for path in state_dir.path.iterdir()) == sorted([*others, "server.log.3"])
    assert state_dir.purge() == []
    assert StateDir(state_dir.path / "never").purge() == []


def test_server_urls():
    assert control.server_url("0.0.0.0", 8000) == "http://127.0.0.1:8000"
    assert control.server_url("::", 8000) == "http://[::1]:8000"
    assert control.server_url("localhost", 80) == "http://localhost:80"


# --- the log ---


def test_log_is_bounded_and_keeps_lines_whole(tmp_path):
    path = tmp_path / "server.log"
    lines = [f"line {n} {'x' * (n % 50)}" for n in range(2000)]
    command = [sys.executable, "-m", "sca.infer.turn.daemon.log_rotation", str(path), "2000", "3"]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, timeout=TIMEOUT_S, cwd=ROOT)
    files = [path, *(Path(f"{path}.{n}") for n in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 2000 for file in files)
    kept = "".join(file.read_text() for file in reversed(files)).splitlines()
    assert kept == lines[-len(kept) :]
    assert tail(path, 3) == lines[-3:]
    assert tail(path, 0) == []
    assert tail(tmp_path / "none", 3) == []


def test_log_without_old_files_and_with_long_lines(tmp_path):
    log = RotatingLog(tmp_path / "log", 10, 0)
    log.write(b"0123456789" * 3 + b"\nab\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"789\nab\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_log_survives_a_full_disk(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    log = RotatingLog(tmp_path / "log", 1000, 2)
    for _ in range(3):
        log.write(b"lost\n")
    (tmp_path / "log").unlink()
    log.write(b"kept\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"kept\n"


def test_follow_continues_across_rotation(tmp_path):
    path, over = tmp_path / "log", threading.Event()
    log = RotatingLog(path, 40, 3)
    log.write(b"before\n")
    follower = LogFollower(path, lambda: not over.is_set())
    for n in range(6):
        log.write(f"line number {n}\n".encode())
        until(lambda n=n: follower.text.endswith(f"line number {n}\n"))
    log.write(b"last line\n")
    over.set()
    follower.join(TIMEOUT_S)
    log.close()
    assert not follower.is_alive()
    assert follower.text == "".join(f"line number {n}\n" for n in range(6)) + "last line\n"


def test_last_output_is_kept_if_the_log_writer_is_slow(state_dir, stub):
    server = start_stub(stub("polite"), state_dir)
    until(lambda: "stub started polite" in tail(state_dir.log, 10))
    writer = writer_of(state_dir.log)
    follower = LogFollower(state_dir.log, state_dir.is_active)
    os.kill(writer, signal.SIGSTOP)
    try:
        stopping = threading.Thread(target=control.stop, args=(state_dir,))
        stopping.start()
        until(lambda: process_id.start_time(server.pid) is None)
        stopping.join(0.5)
        assert stopping.is_alive()
        assert follower.is_alive()
    finally:
        os.kill(writer, signal.SIGCONT)
    stopping.join(TIMEOUT_S)
    assert "stub ended" in tail(state_dir.log, 10)
    follower.join(TIMEOUT_S)
    assert follower.text.endswith("stub ended\n")
    assert not state_dir.is_active()


def writer_of(log):
    """Return the process that writes a log."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            if "sca.infer.turn.daemon.log_rotation" in words and str(log) in words:
                return int(folder.name)
    raise AssertionError(f"no process writes {log}")


class LogFollower(threading.Thread):
    """A thread that follows a log. It has started when the constructor returns."""

    def __init__(self, path, active):
        super().__init__()
        self.text, self._following, self._args = "", threading.Event(), (path, active)
        self.start()
        assert self._following.wait(TIMEOUT_S)

    def run(self):
        path, active = self._args

        def is_active():
            self._following.set()  # it has opened the file and moved to its end
            return active()

        for text in follow(path, is_active):
            self.text += text


# --- the scripts ---


def test_scripts_work_from_any_folder(state_dir, tmp_path):
    at = ("--state-dir", state_dir.path)
    started = script(
        "main.sh", *at, "--port=0", "--pool", "1", "--no-warmup", "--requests", "4", "--concurrency=2", cwd=tmp_path
    )
    assert started.returncode == 0, started.stderr
    assert "everything is installed" in started.stderr
    assert "warm:" not in started.stderr
    assert "4 of 4 requests answered" in started.stdout
    server = state_dir.running()
    assert script("start_bg.sh", *at, cwd=tmp_path).returncode == 2
    command = ["bash", str(ROOT / "scripts/tail_bg_logs.sh"), *map(str, at), "--lines", "5"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as following:
        assert "listening on" in following.stdout.readline()
        stopped = script("stop.sh", *at, "--purge", cwd=tmp_path)
        assert following.communicate(timeout=60)[0].endswith("sca turn: stopped\n")
    assert stopped.returncode == 0, stopped.stderr
    assert f"process {server.pid} has ended" in stopped.stdout
    assert not state_dir.path.exists()


def test_scripts_without_further_options(state_dir, tmp_path):
    """A sample for the warm-up, and the log: there is no option for `serve`."""
    sample = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))
    command = ["bash", str(ROOT / "scripts/main.sh"), "--sample", sample, "--seconds", "0.2", "--tail"]
    settings = os.environ | {
        "SCA_CACHE_DIR": str(state_dir.path.parent),
        "SCA_TURN_PORT": "0",
        "PYTHONPATH": str(ROOT),
    }
    place = StateDir(state_dir.path.parent / "turn")
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings
    ) as running:
        try:
            line = running.stdout.readline()
            assert place.running() is not None, running.stderr.read()
            assert place.running().url in line
            warmed = next(line for line in running.stderr if line.startswith(("warm:", "sca:")))
        finally:
            control.stop(place)
        output = running.communicate(timeout=TIMEOUT_S)[0]
    assert "warm: 3 of 3 requests answered" in warmed
    assert output.endswith("sca turn: stopped\n")


def test_foreground_script(tmp_path):
    command = ["bash", str(ROOT / "scripts/start.sh"), "--port", "0", "--pool", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert "listening on http://127.0.0.1:" in server.stderr.readline()
            server.terminate()
            assert server.wait(TIMEOUT_S) == 0
        finally:
            server.kill()


def test_scripts_are_executable_and_valid():
    for name in ("setup", "start", "start_bg", "stop", "tail_bg_logs", "main"):
        path = ROOT / "scripts" / f"{name}.sh"
        assert os.access(path, os.X_OK)
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
