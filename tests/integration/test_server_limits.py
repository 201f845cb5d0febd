"""Limits of both servers before the application sees a request: heads, connections, and clients that do not read."""

import socket
from contextlib import ExitStack

import httpx
import pytest

from sca.infer.server.transport.connection_limits import MAX_HEAD_BYTES
from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.raw_socket import read_all
from tests.helpers.timeouts import until

REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
MANY = b"".join(b"X-%07d: a\r\n" % i for i in range(2 * MAX_HEAD_BYTES // 14))


@pytest.fixture(scope="module")
def server():
    with running(MirrorEngine(), requests_per_minute=None, auth_key="key", max_connections=2) as running_server:
        yield running_server


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port))


def answer(server, data):
    with connected(server) as raw:
        raw.sendall(data)
        return read_all(raw)


@pytest.mark.parametrize(
    "head",
    [
        REQUEST + b"X: " + bytes([65]) * (8 << 20),
        REQUEST + MANY,
        b"GET /health?" + bytes([65]) * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer " + bytes([65]) * MAX_HEAD_BYTES + b"\r\n\r\n",
        REQUEST + b"\r\n" + REQUEST + MANY,
    ],
    ids=["header", "headers", "url", "key", "second request"],
)
def test_large_heads_are_answered_with_431(server, head):
    got = answer(server, head)
    assert b"HTTP/1.1 431 " in got
    assert b"larger than 65536 bytes" in got


@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD_BYTES - 1, b"200"), (MAX_HEAD_BYTES + 1, b"431")])
def test_limit_of_heads_is_exact(server, size, status):
    start = REQUEST + b"Connection: close\r\nX: "
    assert answer(server, start.ljust(size - 4, b"a") + b"\r\n\r\n")[9:12] == status


UPLOAD = b"POST /infer_wav HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer key\r\nTransfer-Encoding: chunked\r\n"


def test_headers_after_a_body_are_bounded(server):
    got = answer(server, UPLOAD + b"\r\n1\r\nx\r\n0\r\n" + 20 * MANY)
    assert b"HTTP/1.1 431 " in got


def test_many_chunks_of_a_body_are_no_head(server):
    body = b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    assert answer(server, UPLOAD + b"Connection: close\r\n\r\n" + body)[9:12] == b"415"


def test_probes_are_answered_while_all_connections_are_taken(server):
    def get(path):
        return httpx.get(f"{server.url}{path}", headers={"Authorization": "Bearer key"})

    with ExitStack() as stack:
        held = [stack.enter_context(httpx.Client()) for _ in range(2)]
        for client in held:
            assert client.get(f"{server.url}/health").status_code == 200
        for path, status in {"/health": 200, "/ready": 200, "/metrics": 503, "/health/": 503}.items():
            assert get(path).status_code == status
        assert get("/metrics").json()["error"]["what"] == "2 connections are open, and that is the limit"
    until(lambda: get("/metrics").status_code == 200)


def test_connection_without_a_request_gives_way(server):
    with connected(server) as first, connected(server) as second:
        assert httpx.get(f"{server.url}/missing").status_code == 503
        server.advance_clock(1.5)
        assert answer(server, REQUEST.replace(b"/health", b"/") + b"Connection: close\r\n\r\n")[9:12] == b"200"
        assert read_all(first)[9:12] == b"503"
        second.sendall(REQUEST + b"Connection: close\r\n\r\n")
        assert read_all(second)[9:12] == b"200"


def test_spare_connection_without_a_request_is_rejected(server):
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(server)) for _ in range(40)]
        # Two have a place, 32 are spare, and the oldest of the others made room for them.
        assert [read_all(raw)[9:12] for raw in idle[2:8]] == [b"503"] * 6
        assert httpx.get(f"{server.url}/health").status_code == 200
        server.advance_clock(2.5)
        assert [read_all(raw)[9:12] for raw in idle[8:]] == [b"503"] * 32
