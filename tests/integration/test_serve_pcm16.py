"""`sca serve` and `WS /ws/pcm16` over real sockets: the protocol, its limits, access, failures."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.helpers.live_servers import MirrorEngine, process, running
from tests.helpers.timeouts import TIMEOUT_S, connect

CHUNK = 5120


def sound(chunks, chunk=CHUNK, seed=0):
    """Whole chunks of noise as int16. None starts with a sample that has a meaning for the mirror engine."""
    x = np.random.default_rng(seed).integers(-9000, 9000, (chunks, chunk)).astype("<i2")
    x[:, 0] = np.abs(x[:, 0])
    return x


def talk(url, messages, **options):
    """Send messages, end the session, and return (JSON documents, audio frames, close code)."""
    with connect(url, proxy=None, **options) as ws:
        try:
            for message in messages:
                ws.send(message if isinstance(message, bytes | str) else json.dumps(message))
            ws.send(json.dumps({"type": "end"}))
        except ConnectionClosed:
            pass
        return read_all(ws)


def read_all(ws):
    """Read until the connection is closed: (JSON documents, audio frames, close code)."""
    documents, frames = [], []
    try:
        while True:
            message = ws.recv(timeout=TIMEOUT_S)
            if isinstance(message, bytes):
                frames.append(message)
            else:
                documents.append(json.loads(message))
    except ConnectionClosed as closed:
        return documents, frames, closed.rcvd.code if closed.rcvd else None


def read_until(ws, kind):
    """Return the next document of a type."""
    while True:
        message = ws.recv(timeout=TIMEOUT_S)
        if isinstance(message, str) and json.loads(message).get("type") == kind:
            return json.loads(message)


def replies(documents):
    return [d for d in documents if "chunk_ms" in d]


def of(documents, kind):
    return [d for d in documents if d.get("type") == kind]


@pytest.fixture(scope="module")
def mirror():
    with running(MirrorEngine()) as server:
        yield server


@pytest.mark.parametrize("size", [None, 3333, 20_000])
def test_answers_every_chunk_and_loses_no_sample(mirror, size):
    x = sound(7)
    data = x.tobytes()
    size = size or len(data)
    documents, frames, code = talk(mirror.ws, [data[i : i + size] for i in range(0, len(data), size)])
    assert code == 1000
    assert [d["text"] for d in replies(documents)] == [f"chunk {i}" for i in range(7)]
    for reply in replies(documents):
        assert (reply["chunk_ms"], reply["frames_per_chunk"], reply["frame_hz"]) == (320.0, 4, 12.5)
    heads = of(documents, "audio")
    assert [(h["sample_rate"], h["samples"], h["chunk_index"]) for h in heads] == [(24000, 7680, i) for i in range(7)]
    spoken = np.stack([np.frombuffer(frame, "<i2")[-CHUNK:] for frame in frames])
    assert np.array_equal(spoken, x)
    assert of(documents, "lag") == []
    assert documents[-1] == {"type": "bye", "reason": "end"}


def test_joins_messages_of_one_byte(mirror):
    x = sound(1, chunk=640)
    data = x.tobytes()
    documents, frames, _ = talk(
        mirror.ws, [{"frames_per_chunk": 1, "frame_hz": 25.0}, *(data[i : i + 1] for i in range(len(data)))]
    )
    assert np.array_equal(np.frombuffer(frames[0], "<i2")[-640:], x[0])
    assert [d["chunk_ms"] for d in replies(documents)] == [40.0]


def test_options_in_several_messages_apply_to_one_session(mirror):
    x = sound(2, chunk=7680)
    documents, frames, _ = talk(
        mirror.ws, [{"prompt": "Be brief."}, {"frames_per_chunk": 6}, {"frame_hz": 12.5}, x.tobytes()]
    )
    assert [(d["chunk_ms"], d["frames_per_chunk"]) for d in replies(documents)] == [(480.0, 6)] * 2
    assert np.array_equal(np.frombuffer(frames[1], "<i2")[-7680:], x[1])
    config = mirror.context.engine.opened[-1]
    assert (config.prompt, config.grid.frames_per_chunk) == ("Be brief.", 6)
    documents, _, _ = talk(mirror.ws, [sound(1).tobytes()])
    assert replies(documents)[0]["frames_per_chunk"] == 4


def test_client_without_audio_gets_json_only(mirror):
    documents, frames, code = talk(mirror.ws, [{"audio": False, "prompt": "Be brief."}, sound(3).tobytes()])
    assert (frames, code) == ([], 1000)
    assert [document["text"] for document in documents if "chunk_ms" in document] == ["chunk 0", "chunk 1", "chunk 2"]
    assert not [document for document in documents if document.get("type") == "audio"]


def test_processes_an_incomplete_last_chunk(mirror):
    documents, frames, _ = talk(mirror.ws, [sound(2).tobytes()[: CHUNK * 3]])
    assert len(replies(documents)) == len(frames) == 2


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("{", "JSON"),
        ("[1]", "object"),
        ('{"frame_hz": 7.3}', "whole"),
        ('{"frames_per_chunk": 0}', "frames_per_chunk"),
        ('{"frames_per_chunk": "4"}', "frames_per_chunk"),
        ('{"engine": "other"}', "engine"),
        ('{"type": "interrupt"}', "types"),
        ("[" * 50_000, "JSON"),
    ],
)
def test_bad_first_message_ends_the_session(mirror, message, text):
    documents, _, code = talk(mirror.ws, [message])
    assert code == 1008
    assert [d["code"] for d in of(documents, "error")] == ["bad_message"]
    assert text in documents[0]["message"]


def test_bad_later_message_does_not_end_the_session(mirror):
    x = sound(2)
    documents, frames, code = talk(
        mirror.ws, [x[0].tobytes(), "hello", {"prompt": "late"}, {"type": "?"}, x[1].tobytes()]
    )
    assert len(of(documents, "error")) == 3
    assert (len(replies(documents)), len(frames), code) == (2, 2, 1000)


def test_interrupt_starts_a_new_turn(mirror):
    with connect(mirror.ws, proxy=None) as ws:
        ws.send(sound(1).tobytes())
        assert read_until(ws, "audio")["turn_id"] == 0
        ws.send(json.dumps({"type": "interrupt"}))
        assert read_until(ws, "interrupt") == {"type": "interrupt", "turn_id": 0, "by": "door"}
        ws.send(sound(1).tobytes())
        assert read_until(ws, "audio")["turn_id"] == 1


def test_engine_failure_ends_only_its_session(mirror):
    broken = sound(2)
    broken[1, 0] = 32767
    with connect(mirror.ws, proxy=None) as other:
        other.send(sound(1).tobytes())
        documents, frames, code = talk(mirror.ws, [broken.tobytes()])
        assert (code, len(frames)) == (1011, 1)
        (error,) = of(documents, "error")
        assert error["message"] == "the engine mirror failed in chunk 1: ZeroDivisionError: the engine broke"
        other.send(sound(1).tobytes())
        other.send(json.dumps({"type": "end"}))
        documents, frames, code = read_all(other)
        assert (code, len(replies(documents)), len(frames)) == (1000, 2, 2)


def test_broken_client_leaves_no_session(mirror):
    with connect(mirror.ws, proxy=None) as ws:
        ws.send(sound(3).tobytes())
        read_until(ws, "audio")
        ws.socket.shutdown(socket.SHUT_RDWR)
    assert mirror.wait_empty()
    opened = {config.session_id for config in mirror.context.engine.opened}
    assert opened == set(mirror.context.engine.closed)


def test_rejects_messages_above_the_size_limit(mirror):
    # Only the header of a masked binary frame: with more data in transit, a reset could discard the close message.
    head = b"\x82\xff" + ((1 << 20) + 2).to_bytes(8, "big") + bytes(4)
    with connect(mirror.ws, proxy=None) as ws:
        ws.socket.sendall(head)
        assert read_all(ws)[2] == 1009
    assert mirror.wait_empty()


def test_session_limit_closes_with_the_reason():
    with running(MirrorEngine(), max_sessions=1) as server:
        with connect(server.ws, proxy=None) as first:
            first.send(sound(1).tobytes())
            read_until(first, "audio")
            with connect(server.ws, proxy=None) as second, pytest.raises(ConnectionClosed) as refused:
                second.recv(timeout=TIMEOUT_S)
            assert refused.value.rcvd.code == 1013
            assert refused.value.rcvd.reason == "1 session is open, and that is the limit"
        assert server.wait_empty()
        assert talk(server.ws, [sound(1).tobytes()])[2] == 1000
        assert (server.context.sessions.started, server.context.sessions.rejected) == (2, 1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"idle_s": 400.0, "warn_s": 200.0}, "idle"), ({"session_s": 400.0, "warn_s": 200.0}, "session_limit")],
)
def test_warns_before_a_limit_ends_a_session(settings, reason):
    with running(MirrorEngine(), **{"idle_s": 1e6} | settings) as server, connect(server.ws, proxy=None) as ws:
        ws.ping().wait(TIMEOUT_S)  # the session has started
        server.advance_clock(199)
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.05)
        server.advance_clock(2)
        warning = read_until(ws, "warning")
        assert warning["reason"] == reason
        assert 100 < warning["seconds_left"] <= 200
        server.advance_clock(200)
        documents, _, code = read_all(ws)
        assert code == 1008
        assert [(d["type"], d["reason"]) for d in documents] == [("bye", reason)]


def test_key_is_accepted_in_header_and_subprotocol_only():
    with running(MirrorEngine(), auth_key="s3cret") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            with pytest.raises(InvalidStatus) as refused:
                connect(server.ws, proxy=None, additional_headers=headers)
            assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus):
            connect(f"{server.ws}?key=s3cret", proxy=None)
        for scheme in ("Bearer", "Key"):
            talked = talk(server.ws, [sound(1).tobytes()], additional_headers={"Authorization": f"{scheme} s3cret"})
            assert talked[2] == 1000
        offered = base64.urlsafe_b64encode(b"s3cret").decode().rstrip("=")
        with connect(server.ws, proxy=None, subprotocols=["sca", f"sca.key.{offered}"]) as ws:
            assert ws.subprotocol == "sca"
        assert httpx.get(f"{server.url}/health").text == "ok"
        assert httpx.get(f"{server.url}/openapi.json").status_code == 401
        assert httpx.get(f"{server.url}/openapi.json", headers={"Authorization": "Key s3cret"}).status_code == 200


def test_rejects_pages_of_other_origins_and_hosts(mirror):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}):
        response = httpx.get(f"{mirror.url}/health", headers=headers)
        assert response.status_code in (403, 421)
        assert response.headers["x-content-type-options"] == "nosniff"
    with pytest.raises(InvalidStatus) as refused:
        connect(mirror.ws, proxy=None, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    assert httpx.get(f"{mirror.url}/health", headers={"Origin": mirror.url}).status_code == 200


def test_command_prints_its_url_and_ends_sessions_cleanly():
    with process("--drain", "5", "--set", "live.deadline_ms=60000") as (server, url):
        assert httpx.get(f"{url}/health").text == "ok"
        with connect(url.replace("http", "ws") + "/ws/pcm16", proxy=None) as ws:
            ws.send(bytes(2 * CHUNK))
            assert replies([json.loads(ws.recv(timeout=TIMEOUT_S))])
            server.send_signal(signal.SIGTERM)
            documents, _, code = read_all(ws)
            assert [(d["type"], d["reason"]) for d in documents] == [("warning", "stopping"), ("bye", "stopping")]
            assert code == 1001
        assert server.wait(TIMEOUT_S) == 0
        log = server.stderr.read()
        assert log.endswith("sca serve: stopped\n")
        assert "Traceback" not in log


@pytest.mark.parametrize("module", ["sca.infer.server", "sca_run.server"])
def test_module_starts_the_same_server(tmp_path, module):
    config = tmp_path / "sca.toml"
    config.write_text('[serve]\nauth_key = "k"\n')
    with process("--config", str(config), module=(module,)) as (_, url):
        assert httpx.get(f"{url}/openapi.json").status_code == 401


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--host", "0.0.0.0"), 3, "without a key would let anyone in"),
        (("--engine", "unknown"), 2, "engine unknown does not exist"),
        (("--tls-cert", "/nowhere.pem"), 3, "cannot use the certificate /nowhere.pem"),
    ],
)
def test_startup_errors_are_one_line(options, code, text):
    command = [sys.executable, "-m", "sca", "serve", "--port", "0", *options]
    env = os.environ | {"SCA_LIVE_ENGINE": "parrot"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == code
    assert text in done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("sca serve: engine")]
    assert len(errors) <= 2
