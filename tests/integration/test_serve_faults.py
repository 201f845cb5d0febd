"""The live server with broken, slow, greedy or hostile clients: each gets a response or is cut off, and others are served."""

import io
import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import MirrorEngine, process, running
from tests.helpers.raw_socket import close_code, frame, handshake, open_socket, read_all
from tests.helpers.timeouts import TIMEOUT_S, connect, until

CHUNK = 5120
PATHS = ("ws/pcm16", "v1/realtime", "twilio")


@pytest.fixture(scope="module")
def mirror():
    with running(MirrorEngine(), requests_per_minute=None, max_wav_s=60.0) as server:
        yield server


def advance_until_empty(server):
    """Advance the clock until all sessions have ended."""
    while len(server.context.sessions):
        server.advance_clock(10)
        time.sleep(0.01)
    return True


def read_close(ws):
    """Read until the connection is closed: (code, reason)."""
    try:
        while True:
            ws.recv(timeout=TIMEOUT_S)
    except ConnectionClosed as end:
        return end.rcvd.code, end.rcvd.reason


def session_succeeds(server):
    """Return whether a session succeeds."""
    with connect(server.ws, proxy=None) as ws:
        ws.send(bytes(2 * CHUNK))
        ws.send(json.dumps({"type": "end"}))
        return read_close(ws) == (1000, "end")


@pytest.mark.parametrize("path", PATHS)
def test_half_open_connection_frees_its_slot(mirror, path):
    with open_socket(mirror, path) as raw:
        raw.sendall(frame(bytes(100))[:50])  # and nothing more, not even a response to the close frame
        until(lambda: len(mirror.context.sessions))
        assert advance_until_empty(mirror)
    with open_socket(mirror, path) as raw:
        raw.shutdown(socket.SHUT_WR)
        assert mirror.wait_empty()


@pytest.mark.parametrize("path", PATHS)
def test_killed_client_leaves_no_session(mirror, path):
    before = len(mirror.context.engine.closed)
    with open_socket(mirror, path) as raw:
        if path == "ws/pcm16":
            raw.sendall(frame(bytes(6 * CHUNK)))
            got = b""
            while b"audio" not in got:  # in the middle of the response
                got += raw.recv(1000)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    assert mirror.wait_empty()
    assert len(mirror.context.engine.closed) - before == (path == "ws/pcm16")
    assert session_succeeds(mirror)


def test_session_from_single_bytes(mirror):
    sound = np.full(640, 7, "<i2").tobytes()
    messages = (
        frame(b'{"frames_per_chunk": 1, "frame_hz": 25.0}', 0x81) + frame(sound) + frame(b'{"type": "end"}', 0x81)
    )
    with open_socket(mirror) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(messages)):
            raw.send(messages[i : i + 1])
        got = read_all(raw)
    assert sound in got
    assert close_code(got) == 1000


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("pieces", [1, 40])
def test_rejects_ten_megabyte_messages(mirror, path, pieces):
    size = 10 << 20
    with open_socket(mirror, path) as raw:
        with suppress(ConnectionResetError, BrokenPipeError):
            for i in range(pieces):
                last = 0x80 if i == pieces - 1 else 0
                raw.sendall(frame(bytes(size // pieces), last | (2 if i == 0 else 0)))
        got = read_all(raw)
    # Data in transit may reset the connection before the close frame is read.
    assert b"\x88" not in got or close_code(got) == 1009
    assert mirror.wait_empty()
    assert session_succeeds(mirror)


def test_rejects_compressed_messages(mirror):
    with connect(mirror.ws, proxy=None, compression="deflate") as ws:
        assert ws.protocol.extensions == []
    with open_socket(mirror) as raw:
        raw.sendall(frame(b"\xec\xc1\x01\x00" * 100, 0xC2))  # RSV1: compressed
        got = read_all(raw)
    assert close_code(got) == 1002
    assert mirror.wait_empty()


INVALID = {
    "text that is not utf-8": (frame(b"\xff\xfe", 0x81), 1007),
    "a frame without a mask": (b"\x82\x02\x00\x00", 1002),
    "an unknown opcode": (frame(b"", 0x83), 1002),
    "a ping that is too long": (frame(bytes(200), 0x89), 1002),
    "a continuation of nothing": (frame(b"x", 0x80), 1002),
}


@pytest.mark.parametrize("case", INVALID)
@pytest.mark.parametrize("path", PATHS)
def test_protocol_errors_close_with_their_code(mirror, path, case):
    message, code = INVALID[case]
    with open_socket(mirror, path) as raw:
        raw.sendall(message)
        assert close_code(read_all(raw)) == code
    assert mirror.wait_empty()


def test_slow_heads_and_bodies_are_cut_off(mirror):
    form = "POST /infer_wav HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    cases = {
        "GET /health HTTP/1.1\r\nX: ": b"",
        form + "Content-Length: 1000\r\n\r\n": b"408",
        form + "Transfer-Encoding: chunked\r\n\r\n": b"408",
        # These bodies are not read: the endpoint has no body, or the request is rejected.
        "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n": b"200",
        "POST /infer_wav HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\n": b"421",
    }
    sockets = [socket.create_connection(("127.0.0.1", mirror.port)) for _ in cases]
    for raw, head in zip(sockets, cases, strict=True):
        raw.sendall(head.encode())
    over = set()
    while len(over) < len(sockets):
        for raw in set(sockets) - over:
            try:
                raw.send(b"0")
            except (ConnectionResetError, BrokenPipeError):
                over.add(raw)
        mirror.advance_clock(0.5)
        time.sleep(0.01)
    for raw, status in zip(sockets, cases.values(), strict=True):
        with suppress(ConnectionResetError):  # the response was lost with the reset
            assert status in raw.recv(1000)
        raw.close()
    assert mirror.wait_empty()
    assert httpx.get(f"{mirror.url}/health").text == "ok"


def test_stalled_server_still_answers_408(mirror):
    """After a stall, both limits have passed: the one that is answered with 408, and the one that cuts the connection."""
    head = "POST /infer_wav HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", mirror.port)) as raw:
        raw.sendall(f"{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert b"100 Continue" in raw.recv(1000)  # the server waits for the body
        mirror.advance_clock(3600)
        assert b"408" in read_all(raw)


def test_rejects_small_files_with_hours_of_audio(mirror):
    out = io.BytesIO()
    sf.write(out, np.zeros(3 * 3600 * 8000, np.int16), 8000, format="FLAC")
    assert len(out.getvalue()) < 1 << 20
    response = httpx.post(f"{mirror.url}/infer_wav", files={"file": ("x.flac", out.getvalue())})
    assert response.status_code == 413
    assert response.json()["error"]["what"] == "the audio is longer than 60 s"


def test_rejects_compressed_bodies(mirror):
    body = httpx.Request("POST", mirror.url, files={"file": ("x.wav", b"x")})
    headers = {"Content-Type": body.headers["content-type"], "Content-Encoding": "gzip"}
    response = httpx.post(f"{mirror.url}/infer_wav", content=body.read(), headers=headers)
    assert response.status_code == 415
    assert "Content-Encoding" in response.json()["error"]["what"]


def open_files(server):
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


def flood(port, count, source="127.0.0.1"):
    """Open WebSocket connections at once, and return the result of each: a status, a close code or `served`."""

    def open_one(_):
        with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as raw:
            raw.settimeout(TIMEOUT_S)
            raw.sendall(handshake())
            try:
                got = raw.recv(4000)
                while got.startswith(b"HTTP/1.1 101") and b"limit" not in got and len(got) < 4000:
                    raw.settimeout(0.5)
                    got += raw.recv(4000)
            except TimeoutError:
                return "served"
            except ConnectionResetError:
                return "reset"
            if got.startswith(b"HTTP/1.1 101"):
                return close_code(got)
            return int(got[9:12])

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(open_one, range(count)))


def test_flood_of_connections_is_rejected_without_leaks():
    with process("--max-sessions", "2", "--set", "serve.requests_per_minute=200") as (server, url):
        port = int(url.rpartition(":")[2])
        assert httpx.get(f"{url}/health").text == "ok"
        before = open_files(server)
        answers = flood(port, 1000)
        # Two slots, and 200 requests per minute for an address; all others are rejected with the reason.
        assert set(answers) <= {"served", 1013, 429}
        assert answers.count(429) >= 400
        # Another client is served.
        other = httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"))
        with other:
            assert other.get(f"{url}/health").text == "ok"
            until(lambda: open_files(server) <= before + 1)
            until(lambda: "\nsca_sessions 0.0" in other.get(f"{url}/metrics").text)  # and no slot is taken
            metrics = other.get(f"{url}/metrics").text
        assert f'sca_refusals_total{{status="429"}} {answers.count(429)}.0' in metrics
        _connect_and_reset(port)
        server.terminate()
        log = server.stderr.read()
        assert "Traceback" not in log
        assert log.endswith("sca serve: stopped\n")


def _connect_and_reset(port):
    """Open connections, some of which get a slot, and reset them before the response."""
    for i in range(60):
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.3", 0)) as raw:
            raw.sendall(handshake(PATHS[i % 3]) + frame(b"{}", 0x81))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connection_limit_answers_503():
    with running(MirrorEngine(), max_connections=8, requests_per_minute=None) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        with socket.create_connection(("127.0.0.1", server.port)) as ninth:
            ninth.sendall(handshake())
            got = read_all(ninth)
        assert got.startswith(b"HTTP/1.1 503")
        assert b"8 connections are open, and that is the limit" in got
        for connection in idle:
            connection.close()
        until(lambda: _is_healthy(server))
        assert session_succeeds(server)


def _is_healthy(server):
    try:
        return httpx.get(f"{server.url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_infer_wav_answers_503_at_the_session_limit():
    with running(MirrorEngine(), max_sessions=1) as server:
        with connect(server.ws, proxy=None) as ws:
            ws.send(bytes(2 * CHUNK))
            ws.recv(timeout=TIMEOUT_S)
            response = httpx.post(f"{server.url}/infer_wav", files={"file": ("x.wav", b"x")})
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert response.json()["error"]["what"] == "1 session is open, and that is the limit"
        assert server.wait_empty()
        assert httpx.post(f"{server.url}/infer_wav", files={"file": ("x.wav", b"x")}).status_code == 422


def test_drain_ends_sessions_that_keep_speaking():
    with running(MirrorEngine(), drain_s=0.2) as server, connect(server.ws, proxy=None) as ws:
        ws.send(bytes(2 * CHUNK))
        while not isinstance(
            ws.recv(timeout=TIMEOUT_S), bytes
        ):  # the turn of the mirror engine starts and does not end
            pass
        server.start_drain()
        assert read_close(ws) == (1001, "stopping")
        with connect(server.ws, proxy=None) as late:
            assert read_close(late) == (1013, "the server is stopping")
