"""Resuming sessions of `WS /ws/pcm16` after broken connections: without loss, without duplicates, by their owner only."""

import json
import logging
import random

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.resumable_client import ResumableClient
from tests.helpers.timeouts import TIMEOUT_S, connect, until

CHUNK = 5120


def sound(chunks, seed=0):
    """Whole chunks of noise as int16. None starts with a sample that has a meaning for the mirror engine."""
    x = np.random.default_rng(seed).integers(-9000, 9000, (chunks, CHUNK)).astype("<i2")
    x[:, 0] = np.abs(x[:, 0])
    return x


def pieces(data, draw):
    at = 0
    while at < len(data):
        size = draw.choice([1, 777, 4000, 10_240, 25_001])
        yield data[at : at + size]
        at += size


def spoken(client):
    return np.stack([np.frombuffer(frame, "<i2")[-CHUNK:] for frame in client.frames])


def chunks(client):
    return [document["chunk_index"] for document in client.documents if "chunk_ms" in document]


def rejection(server, token, received=0, **options):
    """Try to resume, and return (code of the error, close code)."""
    subprotocols = ["sca.pcm16", f"sca.resume.{token}.{received}"]
    with connect(server.ws, proxy=None, subprotocols=subprotocols, **options) as ws:
        assert ws.subprotocol == "sca.pcm16"
        error = json.loads(ws.recv(timeout=TIMEOUT_S))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=TIMEOUT_S)
    assert error["type"] == "error"
    assert closed.value.rcvd.reason == error["code"]
    return error["code"], closed.value.rcvd.code


@pytest.fixture(scope="module")
def mirror():
    with running(MirrorEngine()) as server:
        yield server


@pytest.mark.parametrize("seed", range(4))
def test_no_sample_is_lost_over_broken_connections(mirror, seed):
    draw, x = random.Random(seed), sound(30, seed)
    opened, resumed = len(mirror.context.engine.opened), mirror.metric('sca_resumes_total{result="resumed"}')
    client, breaks = ResumableClient(mirror), 0
    for message in pieces(x.tobytes(), draw):
        client.send(message)
        for _ in range(draw.choice([0, 0, 0, 1, 4])):
            if len(client.frames) < len(chunks(client)) or draw.random() < 0.2:
                break
            try:
                client.read(timeout=0.05)
            except TimeoutError:
                break
        cause = draw.choice(["", "", "server", "client", "undetected"])
        if cause:
            breaks += 1
            if cause == "server":
                mirror.abort_connections()
            elif cause == "client":
                client.break_connection()
            if draw.random() < 0.5 and cause != "undetected":
                while client.read() is not None:
                    pass
            client.resume()
    assert client.finish() == 1000
    assert breaks > 10
    assert np.array_equal(spoken(client), x)
    assert chunks(client) == list(range(30))
    assert client.documents[-1] == {"type": "bye", "reason": "end"}
    assert not [d for d in client.documents if d.get("type") in ("error", "dropped") or d.get("dropped_chunks")]
    assert len(mirror.context.engine.opened) == opened + 1
    assert mirror.metric('sca_resumes_total{result="resumed"}') - resumed >= breaks


def test_output_and_end_wait_for_a_disconnected_client(mirror):
    client, x = ResumableClient(mirror), sound(3)
    client.send(x.tobytes())
    client.send({"type": "end"})
    client.break_connection()
    assert client.resume()["received"] <= 3
    assert client.finish() == 1000
    assert np.array_equal(spoken(client), x)
    assert client.documents[-1] == {"type": "bye", "reason": "end"}


def test_disconnected_session_keeps_its_slot():
    with running(MirrorEngine(), max_sessions=1) as server:
        client = ResumableClient(server)
        client.send(sound(1).tobytes())
        server.abort_connections()
        while client.read() is not None:
            pass
        until(lambda: server.metric("sca_sessions_waiting") == 1)
        with connect(server.ws, proxy=None) as other, pytest.raises(ConnectionClosed) as refused:
            other.recv(timeout=TIMEOUT_S)
        assert refused.value.rcvd.code == 1013
        client.resume()
        until(lambda: server.metric("sca_sessions_waiting") == 0)
        assert client.finish() == 1000
        assert server.wait_empty()


def test_closed_session_cannot_be_resumed(mirror):
    client = ResumableClient(mirror)
    client.ws.close()
    assert mirror.wait_empty()
    assert rejection(mirror, client.token, client.received) == ("resume_expired", 1008)


def test_session_expires_without_resume():
    with running(MirrorEngine(), resume_s=0.2) as server:
        client = ResumableClient(server)
        client.send(sound(1).tobytes())
        client.break_connection()
        assert server.wait_empty()
        assert server.context.engine.closed == [config.session_id for config in server.context.engine.opened]
        assert rejection(server, client.token, client.received) == ("resume_expired", 1008)
        assert server.metric('sca_resumes_total{result="resume_expired"}') == 1


def test_token_is_valid_once_and_for_its_owner(mirror, caplog):
    caplog.set_level(logging.DEBUG)
    client = ResumableClient(mirror, additional_headers={"Authorization": "Bearer mine"})
    first = client.token
    for token in ("x" * len(first), "", "..", first[:-1]):
        assert rejection(mirror, token, additional_headers={"Authorization": "Bearer mine"})[0] == "resume_unknown"
    for headers in ({}, {"Authorization": "Bearer yours"}, {"Authorization": "Bearer mine", "Origin": mirror.url}):
        assert rejection(mirror, first, 1, additional_headers=headers) == ("resume_unknown", 1008)
    mirror.abort_connections()
    client.resume()
    assert client.token != first
    client.send(sound(1).tobytes())
    client.read_until("audio")
    assert rejection(mirror, first, 1, additional_headers={"Authorization": "Bearer mine"}) == ("resume_used", 1008)
    assert client.finish() == 1000
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("sca")]
    assert any("resumed" in message for message in ours)
    assert not [message for message in ours if first in message or client.token in message]


def test_old_token_stays_valid_until_the_new_one_arrived(mirror):
    client, x = ResumableClient(mirror), sound(2)
    client.send(x.tobytes())
    first = client.token
    client.open(first, client.received).close_socket()  # it broke again before the response was read
    client.resume()
    assert client.finish() == 1000
    assert np.array_equal(spoken(client), x)


def test_kept_messages_are_bounded():
    with running(MirrorEngine(), resume_bytes=40_000) as server:
        client = ResumableClient(server, acks=False)
        client.send(sound(6).tobytes())
        while len(client.frames) < 6:
            client.read()
        assert 0 < server.metric("sca_kept_bytes") <= 40_000
        assert rejection(server, client.token, 2) == ("resume_lost", 1008)
        assert rejection(server, client.token, client.received + 99) == ("resume_lost", 1008)
        client.resume()
        client.send({"type": "ack", "received": client.received})
        client.send({"type": "ack", "received": 10_000})
        assert "19 messages were sent, not 10000" in client.read_until("error")["message"]
        assert server.metric("sca_kept_bytes") < 1000


def test_drain_does_not_wait_for_disconnected_clients():
    with running(MirrorEngine(), drain_s=30.0) as server:
        client = ResumableClient(server)
        client.send(sound(1).tobytes())
        client.break_connection()
        until(lambda: server.metric("sca_sessions_waiting"))
        server.start_drain().result(TIMEOUT_S)
        assert server.wait_empty()


def test_resume_can_be_disabled():
    with running(MirrorEngine(), resume_s=0) as server:
        client = ResumableClient(server)
        assert client.token is None
        client.send(sound(1).tobytes())
        client.break_connection()
        assert server.wait_empty()
