"""The doors of both servers with arbitrary bytes, frames and JSON: no traceback, no 500, and the next client is served.

The bytes and the values come from hypothesis, mixed with what the protocols know, so that they get past the first check.
`SCA_FUZZ_EXAMPLES` sets how many examples each test runs; CI runs a few.
"""

import base64
import json
import logging
import os
import socket
from contextlib import contextmanager

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.raw_socket import frame, handshake, read_all
from tests.helpers.timeouts import TIMEOUT_S

EXAMPLES = int(os.environ.get("SCA_FUZZ_EXAMPLES", "10"))
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.large_base_example],
)

TYPES = (
    "session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear",
    "response.create", "response.cancel", "conversation.item.create", "conversation.item.truncate",
    "conversation.item.retrieve", "conversation.item.delete", "output_audio_buffer.clear",
    "start", "interrupt", "ack", "end", "realtime", "message", "function_call", "function_call_output",
    "server_vad", "semantic_vad", "input_text", "item_reference", "audio/pcm",
)  # fmt: skip
NAMES = (
    "type", "event", "session", "item", "response", "id", "role", "content", "text", "audio", "instructions", "voice",
    "tools", "tool_choice", "turn_detection", "threshold", "input", "output", "format", "rate", "metadata", "modalities",
    "item_id", "content_index", "audio_end_ms", "event_id", "prompt", "frame_hz", "frames_per_chunk", "resume", "received",
    "start", "media", "mark", "name", "payload", "streamSid", "customParameters", "mediaFormat", "encoding", "arguments",
    "call_id", "max_output_tokens", "conversation", "seconds", "expires_after",
)  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from([*TYPES, "", "auto", "none", "user", "assistant", "media", "start", "\ud800", "é", "a" * 5000]),
    st.sampled_from([base64.b64encode(bytes(640)).decode(), "====", None, True, -1, 0, 1e308, 10**30, 2**63, 0.5]),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)
EVENTS = st.builds(
    lambda fields, kind, event: fields | {"type": kind, "event": event},
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
    st.sampled_from(TYPES) | LEAVES,
    st.sampled_from(["start", "media", "mark", "stop", "connected", "dtmf"]) | LEAVES,
)
DEEP = st.integers(1, 5000).map(lambda depth: ("[" * depth).encode() + b"]" * depth)
TEXTS = st.one_of(
    EVENTS.map(lambda event: json.dumps(event).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
    EVENTS.flatmap(lambda event: st.integers(0, 60).map(lambda at: json.dumps(event).encode()[:at])),
    DEEP,
    st.binary(max_size=200),
)
FRAMES = st.one_of(
    TEXTS.map(lambda text: frame(text, 0x81)),
    st.binary(max_size=3000).map(lambda data: frame(data, 0x82)),
    st.builds(frame, st.binary(max_size=125), st.integers(0, 255)),
    st.binary(max_size=100),
)
HEADERS = st.builds(
    lambda name, value: name + b": " + value + b"\r\n",
    st.sampled_from([b"Host", b"Origin", b"Authorization", b"Content-Length", b"Transfer-Encoding", b"Upgrade", b"X-A"])
    | st.binary(max_size=10),
    st.sampled_from([b"chunked", b"websocket", b"0", b"-1", b"99999999999999999999", b"Bearer \xff", b"http://["])
    | st.binary(max_size=30),
)
REQUESTS = st.one_of(
    st.binary(max_size=400),
    st.builds(
        lambda method, path, headers, body: (
            method + b" " + path + b" HTTP/1.1\r\n" + b"".join(headers) + b"\r\n" + body
        ),
        st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"get", b"\xff"]),
        st.sampled_from(
            [b"/", b"/health", b"/infer_wav", b"/raw", b"/status", b"/v1/realtime/calls", b"/%ff", b"*", b"//["]
        )
        | st.binary(max_size=30),
        st.lists(HEADERS, max_size=6),
        st.binary(max_size=200),
    ),
    st.lists(HEADERS, max_size=6).map(lambda headers: handshake().removesuffix(b"\r\n") + b"".join(headers) + b"\r\n"),
)


@pytest.fixture(scope="module")
def server():
    with (
        running(MirrorEngine(), requests_per_minute=None) as running_server,
        httpx.Client(base_url=running_server.url) as running_server.http,
    ):
        yield running_server


@contextmanager
def no_errors(caplog):
    """Check that nothing was logged at the level of errors."""
    caplog.clear()
    yield
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    assert errors == []


def exchange(server, data):
    """Send bytes and the end of sending; return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as raw:
        try:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
        except OSError:
            return b""
        return read_all(raw)


@bounded
@given(data=REQUESTS)
def test_requests_of_any_bytes(server, caplog, data):
    with no_errors(caplog):
        got = exchange(server, data)
        assert b"HTTP/1.1 500" not in got
        assert server.http.get("/health").text == "ok"


@pytest.mark.parametrize("path", ["ws/pcm16", "v1/realtime", "twilio"])
@bounded
@given(frames=st.lists(FRAMES, min_size=1, max_size=12))
def test_websockets_with_any_frames(server, caplog, path, frames):
    with no_errors(caplog):
        got = exchange(server, handshake(path) + b"".join(frames) + frame((1000).to_bytes(2, "big"), 0x88))
        assert b"HTTP/1.1 500" not in got
        assert b"see its log" not in got
        assert server.wait_empty()


@bounded
@given(body=TEXTS, path=st.sampled_from(["/v1/realtime/client_secrets", "/v1/realtime/sessions"]))
def test_client_secrets_of_any_json(server, caplog, body, path):
    with no_errors(caplog):
        assert server.http.post(path, content=body).status_code in (200, 400, 429)


SDP = st.lists(
    st.sampled_from(
        ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=application 9", "a=mid:0", "c=IN IP4 0.0.0.0", "a=setup:x"]
    )
    | st.text(max_size=40),
    max_size=8,
).map("\r\n".join)


@bounded
@given(sdp=SDP, session=TEXTS)
def test_calls_of_any_offer(server, caplog, sdp, session):
    files = {"sdp": ("", sdp.encode("utf-8", "surrogatepass")), "session": ("", session)}
    with no_errors(caplog):
        response = server.http.post("/v1/realtime/calls", files=files)
        assert response.status_code in (400, 413, 415, 501)
        assert server.wait_empty()
