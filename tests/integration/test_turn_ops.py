"""A turn server in the background: started once, found again, killed, replaced and cleaned up after. By command and by script."""

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

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.errors import UsageError
from sca.infer.turn import predictor
from sca.infer.turn.client import TurnClient
from sca.infer.turn.daemon import control
from sca.infer.turn.daemon import process_id as process
from sca.infer.turn.daemon.log_rotation import RotatingLog, follow, tail
from sca.infer.turn.daemon.state_dir import ServerRecord, StateDir
from tests.helpers.patience import PATIENCE_S
from tests.helpers.turn_servers import free_port

ROOT = Path(__file__).resolve().parents[2]

STUB = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
port, does = int(sys.argv[sys.argv.index("--port") + 1]), sys.argv[1]
print("stub says", does, flush=True)
if does == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if does == "polite":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stub says goodbye"))
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
def patient(monkeypatch):
    """`sca` below waits for answers as long as a busy machine needs."""
    monkeypatch.setattr(predictor.open_predictor, "__defaults__", (None, None, PATIENCE_S))


def sca(*arguments, **env):
    """`sca turn …` in this process, which spares a second each; what it starts is a process of its own all the same."""
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
def place(tmp_path):
    """A folder for a server; whatever runs there ends with the test."""
    place = StateDir(tmp_path / "state")
    yield place
    server = place.running()
    if server is not None:
        process.terminate(server.pid, server.since, 2.0)


def until(holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def stub(tmp_path):
    path = tmp_path / "stub_server.py"
    path.write_text(STUB)

    def service(does="serve", port=0):
        return control.ServerCommand([sys.executable, str(path), does], "stub_server", "127.0.0.1", port)

    return service


def begin(service, place, ready_s=PATIENCE_S):
    return control.start(service, place, ready_s, control.LogLimits())


# --- the real server, by command ---


def test_a_servers_life(place, tmp_path):
    at = ("--state-dir", place.path)
    started = sca_process("start", *at, "--port", "0", "--pool", "1")
    assert started.returncode == 0, started.stderr
    server = place.running()
    assert started.stdout == f"{server.url} process {server.pid}, log {place.log}\n"
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
    asked = [json.loads(sca("ask", sound, "--json", *url).stdout) for url in (("--url", server.url), ())]
    assert asked[0]["probability"] == pytest.approx(asked[1]["probability"], abs=1e-6)
    assert asked[0]["finished"] == asked[1]["finished"] == (asked[0]["probability"] > 0.5)
    assert asked[0]["seconds"] == 8.0

    assert "listening on" in sca("logs", *at).stdout
    bystander = place.path / "notes.txt"
    bystander.write_text("mine")
    stopped = sca("stop", "--purge", *at)
    assert stopped.exit_code == 0
    assert f"process {server.pid} has ended" in stopped.stdout
    assert list(place.path.iterdir()) == [bystander], "what it made is gone, and nothing else"
    assert process.start_time(server.pid) is None
    assert sca("stop", *at).stdout == "no turn server runs here\n"


def test_after_kill_9_it_starts_again_at_the_same_port(place):
    at, port = ("--state-dir", place.path), free_port()
    options = ("--port", port, "--pool", "1", "--no-warmup")
    assert sca("start", *at, *options).exit_code == 0
    first = place.running()
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: place.running() is None)
    down = sca("bench", *at, "--requests", "2", "--url", first.url)
    assert down.exit_code == 6
    assert "cannot reach" in down.stderr
    again = sca("start", *at, *options)
    assert again.exit_code == 0, again.stderr
    assert "is no longer running" in again.stderr
    second = place.running()
    assert (second.url, second.pid != first.pid) == (first.url, True)
    assert sca("stop", *at).exit_code == 0


def test_keys(place):
    at = ("--state-dir", place.path)
    started = sca("start", *at, "--port", "0", "--pool", "1", AUTH_KEY="sésame 1")
    assert started.exit_code == 0, started.stderr
    assert "warm: 3 of 3" in started.stderr
    server = place.running()
    assert "sésame" not in process.command_line(server.pid) + (place.path / "server.json").read_text()
    for key, code in (("wrong", 3), (None, 3), ("sésame 1", 0)):
        env = {} if key is None else {"AUTH_KEY": key}
        done = sca("warmup", "--requests", "1", "--url", server.url, **env)
        assert done.exit_code == code, done.stderr
        assert ("answered 401" in done.stderr) == (code == 3)
    sound = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))
    assert sca("ask", sound, "--url", server.url).exit_code == 3


def test_a_port_that_is_taken(place):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = sca("start", "--state-dir", place.path, "--port", port)
    assert done.exit_code == 3
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert place.running() is None


def test_a_server_that_cannot_start_says_why(place, tmp_path):
    done = sca("start", "--state-dir", place.path, "--port", "0", "--model", tmp_path / "none.onnx")
    assert done.exit_code == 5
    assert "ended with code 5 before it was ready" in done.stderr
    assert "does not exist" in done.stderr, "the log's end is shown"
    assert place.running() is None
    assert not place.is_stale()


def test_an_option_that_serve_does_not_know(place):
    done = sca("start", "--state-dir", place.path, "--port", "0", "--nonsense")
    assert done.exit_code == 2
    assert "nonsense" in done.stderr


# --- what `ask` and `watch` say when there is nobody ---


def test_a_server_that_is_down():
    sound = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))
    url = f"http://127.0.0.1:{free_port()}"
    for command in (("ask", sound), ("watch", "--file", sound), ("warmup",)):
        done = sca(*command, "--url", url)
        assert done.exit_code == 6, done.stderr
        assert "Connection refused" in done.stderr


def test_watching_a_file_gives_the_same_lines_every_time(tmp_path):
    import soundfile

    from sca.infer.turn.client.load_test import shipped_speech

    path = tmp_path / "speech.wav"
    soundfile.write(path, shipped_speech()[: 16_000 * 5], 16_000)
    runs = [once("watch", "--file", path, "--json") for once in (sca_process, sca)]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stderr == ""
    events = [json.loads(line) for line in runs[0].stdout.splitlines()]
    assert {event["type"] for event in events} == {"asked", "over", "end"}
    over = [event for event in events if event["type"] == "over"]
    assert events[-1]["turns"] == len(over) > 0
    assert all(event["delay_s"] >= 0.2 for event in over)
    assert "turn 0 over" in sca("watch", "--file", path).stdout
    assert sca("watch").exit_code == sca("watch", "--mic", "--file", path).exit_code == 2


# --- a stub, by call ---


def test_start_and_stop(place, stub):
    server = begin(stub(), place)
    assert place.running() == server
    assert TurnClient(server.url).healthy()
    assert "stub says serve" in tail(place.log, 10)
    with pytest.raises(UsageError, match=f"process {server.pid}"):
        begin(stub(), place)
    assert control.stop(place) == control.StopResult(server, killed=False)
    assert control.stop(place) == control.StopResult(None)
    assert process.start_time(server.pid) is None


def test_one_that_does_not_want_to_end_is_killed(place, stub):
    server = begin(stub("stubborn"), place)
    assert control.stop(place, grace_s=0.3) == control.StopResult(server, killed=True)
    assert process.start_time(server.pid) is None


class UntilItSays:
    """A clock on which a server has all the time it needs until something is in its log, and none after."""

    sleep = staticmethod(time.sleep)

    def __init__(self, log):
        self.log = log

    def monotonic(self):
        return time.monotonic() + (1e6 if tail(self.log, 1) else 0)


@pytest.mark.parametrize(
    ("does", "code", "said"), [("fail", 4, "with code 4"), ("die", 6, "by signal 9"), ("slow", 6, "not ready within")]
)
def test_one_that_does_not_get_ready(place, stub, monkeypatch, does, code, said):
    if does == "slow":
        monkeypatch.setattr(control, "time", UntilItSays(place.log))
    with pytest.raises(Exception, match=said) as caught:
        begin(stub(does), place)
    assert caught.value.exit_code == code
    assert f"stub says {does}" in caught.value.hint
    assert list(place.path.glob("server.json")) == []
    assert place.running() is None


def test_two_starts_at_once(place, stub):
    with place.lock(), pytest.raises(UsageError, match="in progress"):
        begin(stub(), place)


@pytest.mark.parametrize("wrong", ["number given out again", "other command", "no JSON", "a list", "half of it"])
def test_a_record_of_something_else_is_stale(place, wrong):
    place.create()
    since = process.start_time(os.getpid())
    mine = ServerRecord(os.getpid(), since, "http://127.0.0.1:1", "pytest")
    place.write_record(mine)
    assert place.running() == mine or "pytest" not in process.command_line(os.getpid())
    record = place.path / "server.json"
    match wrong:
        case "number given out again":
            place.write_record(ServerRecord(os.getpid(), "1", mine.url, ""))
        case "other command":
            place.write_record(ServerRecord(os.getpid(), since, mine.url, "turn serve of another kind"))
        case "no JSON":
            record.write_text("{")
        case "a list":
            record.write_text("[]")
        case "half of it":
            record.write_text(json.dumps({"pid": os.getpid()}))
    assert place.running() is None
    assert place.is_stale()
    assert control.stop(place) == control.StopResult(None), "and nobody was harmed"
    assert not place.is_stale()


def test_purge_leaves_what_it_did_not_make(place):
    place.create()
    names = ["server.json", "server.log", "server.log.1", "server.log.12", "lock"]
    others = ["server.log.old", "server.logs", "notes", "server.log.1.gz"]
    for name in names + others:
        (place.path / name).write_text("x")
    (place.path / "server.log.3").mkdir()
    assert sorted(path.name for path in place.purge()) == sorted(names)
    assert sorted(path.name for path in place.path.iterdir()) == sorted([*others, "server.log.3"])
    assert place.purge() == []
    assert StateDir(place.path / "never").purge() == []


def test_an_address_for_every_host():
    assert control.server_url("0.0.0.0", 8000) == "http://127.0.0.1:8000"
    assert control.server_url("::", 8000) == "http://[::1]:8000"
    assert control.server_url("localhost", 80) == "http://localhost:80"


# --- the log ---


def test_the_log_is_bounded_and_lines_stay_whole(tmp_path):
    path = tmp_path / "server.log"
    lines = [f"line {n} {'x' * (n % 50)}" for n in range(2000)]
    command = [sys.executable, "-m", "sca.infer.turn.daemon.log_rotation", str(path), "2000", "3"]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, timeout=PATIENCE_S, cwd=ROOT)
    files = [path, *(Path(f"{path}.{n}") for n in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 2000 for file in files)
    kept = "".join(file.read_text() for file in reversed(files)).splitlines()
    assert kept == lines[-len(kept) :]
    assert tail(path, 3) == lines[-3:]
    assert tail(path, 0) == []
    assert tail(tmp_path / "none", 3) == []


def test_a_line_longer_than_a_file_and_no_old_ones(tmp_path):
    log = RotatingLog(tmp_path / "log", 10, 0)
    log.write(b"0123456789" * 3 + b"\nab\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"\nab\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full_does_not_stop_the_log(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    log = RotatingLog(tmp_path / "log", 1000, 2)
    for _ in range(3):
        log.write(b"lost\n")
    (tmp_path / "log").unlink()
    log.write(b"kept\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"kept\n"


def test_following_goes_across_rotation_and_ends_with_the_server(tmp_path):
    path, over = tmp_path / "log", threading.Event()
    log = RotatingLog(path, 40, 3)
    log.write(b"before\n")
    listener = Listener(path, lambda: not over.is_set())
    for n in range(6):
        log.write(f"said number {n}\n".encode())
        until(lambda n=n: listener.text.endswith(f"said number {n}\n"))
    log.write(b"last words\n")
    over.set()
    listener.join(PATIENCE_S)
    log.close()
    assert not listener.is_alive()
    assert listener.text == "".join(f"said number {n}\n" for n in range(6)) + "last words\n"


def test_the_last_words_of_a_server_are_followed_and_kept_however_slow_the_writer_of_its_log_is(place, stub):
    server = begin(stub("polite"), place)
    until(lambda: "stub says polite" in tail(place.log, 10))
    writer = writer_of(place.log)
    listener = Listener(place.log, place.is_active)
    os.kill(writer, signal.SIGSTOP)
    try:
        stopping = threading.Thread(target=control.stop, args=(place,))
        stopping.start()
        until(lambda: process.start_time(server.pid) is None)
        stopping.join(0.5)
        assert stopping.is_alive()
        assert listener.is_alive()
    finally:
        os.kill(writer, signal.SIGCONT)
    stopping.join(PATIENCE_S)
    assert "stub says goodbye" in tail(place.log, 10)
    listener.join(PATIENCE_S)
    assert listener.text.endswith("stub says goodbye\n")
    assert not place.is_active()


def writer_of(log):
    """The process that writes this log."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            if "sca.infer.turn.daemon.log_rotation" in words and str(log) in words:
                return int(folder.name)
    raise AssertionError(f"nobody writes {log}")


class Listener(threading.Thread):
    """Follows a log; has begun to when it is made."""

    def __init__(self, path, alive):
        super().__init__()
        self.text, self._begun, self._args = "", threading.Event(), (path, alive)
        self.start()
        assert self._begun.wait(PATIENCE_S)

    def run(self):
        path, alive = self._args

        def lives():
            self._begun.set()  # it is at the end of the file
            return alive()

        for said in follow(path, lives):
            self.text += said


# --- the scripts ---


def test_the_scripts_start_show_and_stop_from_anywhere(place, tmp_path):
    at = ("--state-dir", place.path)
    started = script(
        "main.sh", *at, "--port=0", "--pool", "1", "--no-warmup", "--requests", "4", "--concurrency=2", cwd=tmp_path
    )
    assert started.returncode == 0, started.stderr
    assert "everything is installed" in started.stderr
    assert "warm:" not in started.stderr
    assert "4 of 4 requests answered" in started.stdout
    server = place.running()
    assert script("start_bg.sh", *at, cwd=tmp_path).returncode == 2
    command = ["bash", str(ROOT / "scripts/tail_bg_logs.sh"), *map(str, at), "--lines", "5"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as following:
        assert "listening on" in following.stdout.readline()
        stopped = script("stop.sh", *at, "--purge", cwd=tmp_path)
        assert following.communicate(timeout=60)[0].endswith("sca turn: stopped\n")
    assert stopped.returncode == 0, stopped.stderr
    assert f"process {server.pid} has ended" in stopped.stdout
    assert not place.path.exists()


def test_the_foreground_script(tmp_path):
    command = ["bash", str(ROOT / "scripts/start.sh"), "--port", "0", "--pool", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert "listening on http://127.0.0.1:" in server.stderr.readline()
            server.terminate()
            assert server.wait(PATIENCE_S) == 0
        finally:
            server.kill()


def test_every_script_can_be_run_and_reads_as_bash():
    for name in ("setup", "start", "start_bg", "stop", "tail_bg_logs", "main"):
        path = ROOT / "scripts" / f"{name}.sh"
        assert os.access(path, os.X_OK)
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
