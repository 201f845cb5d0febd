"""The live server against clients that are broken, slow, greedy or hostile: each is answered or cut off, others are served."""

import base64
import io
import json
import os
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

from tests.helpers.live_servers import Mirror, process, running
from tests.helpers.patience import PATIENCE_S, connect

CHUNK = 5120
DOORS = ("ws/pcm16", "v1/realtime", "twilio")


@pytest.fixture(scope="module")
def mirror():
    with running(Mirror(), requests_per_minute=None, max_wav_s=60.0) as server:
        yield server


def empty_in_time(server):
    """Let time pass until all sessions are over."""
    while len(server.server.sessions):
        server.later(10)
        time.sleep(0.01)
    return True


def handshake(path="ws/pcm16", **headers):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    ).encode()


def frame(payload, first=0x82):
    """A WebSocket frame of a client, with a mask of zeros. first: FIN, RSV bits and the opcode; binary if not given."""
    size = len(payload)
    if size < 126:
        head = bytes([128 | size])
    elif size < 1 << 16:
        head = b"\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + head + bytes(4) + payload


def rest(raw):
    """All that a socket still gets, until the other side closes it; a close frame is answered."""
    got = b""
    raw.settimeout(PATIENCE_S)
    with suppress(ConnectionResetError, BrokenPipeError):
        while piece := raw.recv(1 << 16):
            got += piece
            at = got.rfind(b"\x88")
            if at >= 0 and len(got) == at + 2 + got[at + 1]:
                raw.sendall(frame(got[at + 2 :], 0x88))
    return got


def closed(data):
    """The code of the close frame that a connection ended with."""
    at = data.rindex(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")


def opened(server, path="ws/pcm16"):
    raw = socket.create_connection(("127.0.0.1", server.port))
    raw.sendall(handshake(path))
    got = b""
    while b"\r\n\r\n" not in got:
        piece = raw.recv(1 << 16)
        assert piece, got
        got += piece
    assert got.startswith(b"HTTP/1.1 101")
    return raw


def ended(ws):
    """The code and reason that a connection is closed with."""
    try:
        while True:
            ws.recv(timeout=PATIENCE_S)
    except ConnectionClosed as end:
        return end.rcvd.code, end.rcvd.reason


def serves(server):
    """Whether a whole session goes well."""
    with connect(server.ws, proxy=None) as ws:
        ws.send(bytes(2 * CHUNK))
        ws.send(json.dumps({"type": "end"}))
        return ended(ws) == (1000, "end")


@pytest.mark.parametrize("path", DOORS)
def test_a_half_open_connection_gives_its_place_back(mirror, path):
    with opened(mirror, path) as raw:
        raw.sendall(frame(bytes(100))[:50])  # and never a word more, no answer to a close frame either
        while len(mirror.server.sessions) == 0:
            time.sleep(0.01)
        assert empty_in_time(mirror)
    with opened(mirror, path) as raw:
        raw.shutdown(socket.SHUT_WR)
        assert mirror.empty()


@pytest.mark.parametrize("path", DOORS)
def test_a_client_that_is_killed_leaves_nothing_behind(mirror, path):
    before = len(mirror.server.engine.closed)
    with opened(mirror, path) as raw:
        if path == "ws/pcm16":
            raw.sendall(frame(bytes(6 * CHUNK)))
            got = b""
            while b"audio" not in got:  # in the middle of its answer
                got += raw.recv(1000)
        raw.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )  # a reset, as of a machine that is gone
    assert mirror.empty()
    assert len(mirror.server.engine.closed) - before == (path == "ws/pcm16")
    assert serves(mirror)


def test_bytes_one_at_a_time_are_a_conversation(mirror):
    sound = np.full(640, 7, "<i2").tobytes()
    messages = (
        frame(b'{"frames_per_chunk": 1, "frame_hz": 25.0}', 0x81) + frame(sound) + frame(b'{"type": "end"}', 0x81)
    )
    with opened(mirror) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(messages)):
            raw.send(messages[i : i + 1])
        got = rest(raw)
    assert sound in got
    assert closed(got) == 1000


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("pieces", [1, 40])
def test_a_message_of_ten_megabytes_is_refused_however_it_comes(mirror, path, pieces):
    size = 10 << 20
    with opened(mirror, path) as raw:
        with suppress(ConnectionResetError, BrokenPipeError):
            for i in range(pieces):
                last = 0x80 if i == pieces - 1 else 0
                raw.sendall(frame(bytes(size // pieces), last | (2 if i == 0 else 0)))
        got = rest(raw)
    # What was on its way may reset the connection before the close frame is read.
    assert b"\x88" not in got or closed(got) == 1009
    assert mirror.empty()
    assert serves(mirror)


def test_a_compressed_message_is_refused_because_nobody_agreed_on_it(mirror):
    with connect(mirror.ws, proxy=None, compression="deflate") as ws:
        assert ws.protocol.extensions == []
    with opened(mirror) as raw:
        raw.sendall(frame(b"\xec\xc1\x01\x00" * 100, 0xC2))  # RSV1: packed
        got = rest(raw)
    assert closed(got) == 1002
    assert mirror.empty()


BROKEN = {
    "text that is no utf-8": (frame(b"\xff\xfe", 0x81), 1007),
    "a frame without a mask": (b"\x82\x02\x00\x00", 1002),
    "an opcode that is none": (frame(b"", 0x83), 1002),
    "a ping that is too long": (frame(bytes(200), 0x89), 1002),
    "a continuation of nothing": (frame(b"x", 0x80), 1002),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("path", DOORS)
def test_what_is_no_websocket_any_more_is_closed_with_its_code(mirror, path, what):
    message, code = BROKEN[what]
    with opened(mirror, path) as raw:
        raw.sendall(message)
        assert closed(rest(raw)) == code
    assert mirror.empty()


def test_heads_and_bodies_that_trickle_are_cut_off(mirror):
    form = "POST /infer_wav HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    cases = {
        "GET /health HTTP/1.1\r\nX: ": b"",
        form + "Content-Length: 1000\r\n\r\n": b"408",
        form + "Transfer-Encoding: chunked\r\n\r\n": b"408",
        # Nobody reads these bodies: of an endpoint that wants none, and of a request that is refused.
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
        mirror.later(0.5)
        time.sleep(0.01)
    for raw, says in zip(sockets, cases.values(), strict=True):
        with suppress(ConnectionResetError):  # it was answered, and the answer went with the reset
            assert says in raw.recv(1000)
        raw.close()
    assert mirror.empty()
    assert httpx.get(f"{mirror.url}/health").text == "ok"


def test_a_server_that_was_held_up_still_says_that_a_body_is_late(mirror):
    """Then all its limits are over at once: the one that it answers, and the one that ends what nobody answers."""
    head = "POST /infer_wav HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", mirror.port)) as raw:
        raw.sendall(f"{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert b"100 Continue" in raw.recv(1000)  # it waits for the body
        mirror.later(3600)
        assert b"408" in rest(raw)


def test_sound_that_unpacks_to_hours_is_cut_at_the_limit(mirror):
    out = io.BytesIO()
    sf.write(out, np.zeros(3 * 3600 * 8000, np.int16), 8000, format="FLAC")
    assert len(out.getvalue()) < 1 << 20
    response = httpx.post(f"{mirror.url}/infer_wav", files={"file": ("x.flac", out.getvalue())})
    assert response.status_code == 413
    assert response.json()["error"]["what"] == "the audio is longer than 60 s"


def test_packed_bodies_are_not_unpacked(mirror):
    body = httpx.Request("POST", mirror.url, files={"file": ("x.wav", b"x")})
    headers = {"Content-Type": body.headers["content-type"], "Content-Encoding": "gzip"}
    response = httpx.post(f"{mirror.url}/infer_wav", content=body.read(), headers=headers)
    assert response.status_code == 415
    assert "Content-Encoding" in response.json()["error"]["what"]


def open_files(server):
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


def flood(port, count, source="127.0.0.1"):
    """So many WebSocket connects at once, none of which ends its session: what each was answered."""

    def one(_):
        with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as raw:
            raw.settimeout(PATIENCE_S)
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
                return closed(got)
            return int(got[9:12])

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(one, range(count)))


def test_a_thousand_connects_are_refused_in_words_and_leave_nothing_open():
    with process("--max-sessions", "2", "--set", "serve.requests_per_minute=200") as (server, url):
        port = int(url.rpartition(":")[2])
        assert httpx.get(f"{url}/health").text == "ok"
        before = open_files(server)
        answers = flood(port, 1000)
        # Places for two at a time, 200 requests for one address and 200 more a minute; all others are told.
        assert set(answers) <= {"served", 1013, 429}
        assert answers.count(429) >= 400
        # Another client is served.
        other = httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"))
        with other:
            assert other.get(f"{url}/health").text == "ok"
            until = time.monotonic() + 60
            while open_files(server) > before + 1 and time.monotonic() < until:
                time.sleep(0.05)
            assert open_files(server) <= before + 1
            metrics = ""
            while "\nsca_sessions 0.0" not in metrics:  # nor is a place taken
                metrics = other.get(f"{url}/metrics").text
                time.sleep(0.5)
        assert f'sca_refusals_total{{status="429"}} {answers.count(429)}.0' in metrics
        _knock_and_leave(port)
        server.terminate()
        log = server.stderr.read()
        assert "Traceback" not in log
        assert log.endswith("sca serve: stopped\n")


def _knock_and_leave(port):
    """Connects, some of which find a place, whose clients are gone before they are answered."""
    for i in range(60):
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.3", 0)) as raw:
            raw.sendall(handshake(DOORS[i % 3]) + frame(b"{}", 0x81))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connections_beyond_the_limit_are_told_and_none_is_lost():
    with running(Mirror(), max_connections=8, requests_per_minute=None) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        with socket.create_connection(("127.0.0.1", server.port)) as ninth:
            ninth.sendall(handshake())
            got = rest(ninth)
        assert got.startswith(b"HTTP/1.1 503")
        assert b"8 connections are open, and that is the limit" in got
        for one in idle:
            one.close()
        until = time.monotonic() + 60
        while not _answers(server) and time.monotonic() < until:
            time.sleep(0.02)
        assert serves(server)


def _answers(server):
    try:
        return httpx.get(f"{server.url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_file_is_refused_over_http_when_there_is_no_place():
    with running(Mirror(), max_sessions=1) as server:
        with connect(server.ws, proxy=None) as ws:
            ws.send(bytes(2 * CHUNK))
            ws.recv(timeout=PATIENCE_S)
            response = httpx.post(f"{server.url}/infer_wav", files={"file": ("x.wav", b"x")})
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert response.json()["error"]["what"] == "1 session is open, and that is the limit"
        assert server.empty()
        assert httpx.post(f"{server.url}/infer_wav", files={"file": ("x.wav", b"x")}).status_code == 422


def test_who_never_stops_speaking_is_ended_when_the_server_stops():
    with running(Mirror(), drain_s=0.2) as server, connect(server.ws, proxy=None) as ws:
        ws.send(bytes(2 * CHUNK))
        while not isinstance(ws.recv(timeout=PATIENCE_S), bytes):  # the mirror's turn begins and has no end
            pass
        server.stop()
        assert ended(ws) == (1001, "stopping")
        with connect(server.ws, proxy=None) as late:
            assert ended(late) == (1013, "the server is stopping")
