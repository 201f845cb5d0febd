"""Sessions of `WS /ws/pcm16` that survive their connection: nothing lost, nothing doubled, and who may not come back."""

import json
import logging
import random

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import Mirror, running
from tests.helpers.patience import PATIENCE_S, connect
from tests.helpers.resumable import Caller

CHUNK = 5120


def sound(chunks, seed=0):
    """Whole chunks of noise as int16; none begins with a sample that means something to the mirror."""
    x = np.random.default_rng(seed).integers(-9000, 9000, (chunks, CHUNK)).astype("<i2")
    x[:, 0] = np.abs(x[:, 0])
    return x


def pieces(data, draw):
    at = 0
    while at < len(data):
        size = draw.choice([1, 777, 4000, 10_240, 25_001])
        yield data[at : at + size]
        at += size


def said(caller):
    return np.stack([np.frombuffer(frame, "<i2")[-CHUNK:] for frame in caller.frames])


def chunks(caller):
    return [document["chunk_index"] for document in caller.documents if "chunk_ms" in document]


def refusal(server, token, received=0, **options):
    """(code of the error, close code) of a connection that wants to resume."""
    offers = ["sca.pcm16", f"sca.resume.{token}.{received}"]
    with connect(server.ws, proxy=None, subprotocols=offers, **options) as ws:
        assert ws.subprotocol == "sca.pcm16"
        error = json.loads(ws.recv(timeout=PATIENCE_S))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=PATIENCE_S)
    assert error["type"] == "error"
    assert closed.value.rcvd.reason == error["code"]
    return error["code"], closed.value.rcvd.code


@pytest.fixture(scope="module")
def mirror():
    with running(Mirror()) as server:
        yield server


@pytest.mark.parametrize("seed", range(4))
def test_however_often_it_breaks_every_sample_is_heard_and_said_once(mirror, seed):
    draw, x = random.Random(seed), sound(30, seed)
    opened, resumed = len(mirror.server.engine.opened), mirror.metric('sca_resumes_total{result="resumed"}')
    caller, breaks = Caller(mirror), 0
    for message in pieces(x.tobytes(), draw):
        caller.send(message)
        for _ in range(draw.choice([0, 0, 0, 1, 4])):
            if len(caller.frames) < len(chunks(caller)) or draw.random() < 0.2:
                break
            try:
                caller.read(timeout=0.05)
            except TimeoutError:
                break
        way = draw.choice(["", "", "server", "client", "nobody noticed"])
        if way:
            breaks += 1
            if way == "server":
                mirror.cut()
            elif way == "client":
                caller.hang_up()
            if draw.random() < 0.5 and way != "nobody noticed":
                while caller.read() is not None:
                    pass
            caller.resume()
    assert caller.finish() == 1000
    assert breaks > 10
    assert np.array_equal(said(caller), x)
    assert chunks(caller) == list(range(30))
    assert caller.documents[-1] == {"type": "bye", "reason": "end"}
    assert not [d for d in caller.documents if d.get("type") in ("error", "dropped") or d.get("dropped_chunks")]
    assert len(mirror.server.engine.opened) == opened + 1
    assert mirror.metric('sca_resumes_total{result="resumed"}') - resumed >= breaks


def test_what_was_said_to_nobody_waits_with_its_end(mirror):
    caller, x = Caller(mirror), sound(3)
    caller.send(x.tobytes())
    caller.send({"type": "end"})
    caller.hang_up()
    assert caller.resume()["received"] <= 3
    assert caller.finish() == 1000
    assert np.array_equal(said(caller), x)
    assert caller.documents[-1] == {"type": "bye", "reason": "end"}


def test_a_session_that_waits_keeps_its_place_and_no_more():
    with running(Mirror(), max_sessions=1) as server:
        caller = Caller(server)
        caller.send(sound(1).tobytes())
        server.cut()
        while caller.read() is not None:
            pass
        assert server.metric("sca_sessions_waiting") == 1
        with connect(server.ws, proxy=None) as other, pytest.raises(ConnectionClosed) as refused:
            other.recv(timeout=PATIENCE_S)
        assert refused.value.rcvd.code == 1013
        caller.resume()
        assert server.metric("sca_sessions_waiting") == 0
        assert caller.finish() == 1000
        assert server.empty()


def test_a_client_that_closes_is_not_waited_for(mirror):
    caller = Caller(mirror)
    caller.ws.close()
    assert mirror.empty()
    assert refusal(mirror, caller.token, caller.received) == ("resume_expired", 1008)


def test_a_client_that_does_not_come_back_is_forgotten():
    with running(Mirror(), resume_s=0.2) as server:
        caller = Caller(server)
        caller.send(sound(1).tobytes())
        caller.hang_up()
        assert server.empty()
        assert server.server.engine.closed == [config.session_id for config in server.server.engine.opened]
        assert refusal(server, caller.token, caller.received) == ("resume_expired", 1008)
        assert server.metric('sca_resumes_total{result="resume_expired"}') == 1


def test_a_token_is_good_once_and_for_its_owner(mirror, caplog):
    caplog.set_level(logging.DEBUG)
    caller = Caller(mirror, additional_headers={"Authorization": "Bearer mine"})
    first = caller.token
    for token in ("x" * len(first), "", "..", first[:-1]):
        assert refusal(mirror, token, additional_headers={"Authorization": "Bearer mine"})[0] == "resume_unknown"
    for headers in ({}, {"Authorization": "Bearer yours"}, {"Authorization": "Bearer mine", "Origin": mirror.url}):
        assert refusal(mirror, first, 1, additional_headers=headers) == ("resume_unknown", 1008)
    mirror.cut()
    caller.resume()
    assert caller.token != first
    caller.send(sound(1).tobytes())
    caller.until("audio")
    assert refusal(mirror, first, 1, additional_headers={"Authorization": "Bearer mine"}) == ("resume_used", 1008)
    assert caller.finish() == 1000
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("sca")]
    assert any("resumed" in message for message in ours)
    assert not [message for message in ours if first in message or caller.token in message]


def test_a_new_token_that_never_arrived_does_not_lock_the_client_out(mirror):
    caller, x = Caller(mirror), sound(2)
    caller.send(x.tobytes())
    first = caller.token
    caller.open(first, caller.received).close_socket()  # it broke again before the answer was read
    caller.resume()
    assert caller.finish() == 1000
    assert np.array_equal(said(caller), x)


def test_what_is_kept_is_bounded_and_a_client_that_lacks_more_is_told():
    with running(Mirror(), resume_bytes=40_000) as server:
        caller = Caller(server, acks=False)
        caller.send(sound(6).tobytes())
        while len(caller.frames) < 6:
            caller.read()
        assert 0 < server.metric("sca_kept_bytes") <= 40_000
        assert refusal(server, caller.token, 2) == ("resume_lost", 1008)
        assert refusal(server, caller.token, caller.received + 99) == ("resume_lost", 1008)
        caller.resume()
        caller.send({"type": "ack", "received": caller.received})
        caller.send({"type": "ack", "received": 10_000})
        assert "19 messages were sent, not 10000" in caller.until("error")["message"]
        assert server.metric("sca_kept_bytes") < 1000


def test_a_server_that_stops_does_not_wait_for_who_is_away():
    with running(Mirror(), drain_s=30.0) as server:
        caller = Caller(server)
        caller.send(sound(1).tobytes())
        caller.hang_up()
        while server.metric("sca_sessions_waiting") == 0:
            pass
        server.stop().result(PATIENCE_S)
        assert server.empty()


def test_a_server_may_keep_nothing():
    with running(Mirror(), resume_s=0) as server:
        caller = Caller(server)
        assert caller.token is None
        caller.send(sound(1).tobytes())
        caller.hang_up()
        assert server.empty()
