"""Clients of the live server that do not read, send too fast, or are gone without a word: bounds, what is dropped, who is told."""

import asyncio
import base64
import json
import socket
import threading
import time
from contextlib import suppress

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import Mirror, running
from tests.helpers.patience import PATIENCE_S, connect

SMALL = {"frame_hz": 25.0, "frames_per_chunk": 1}  # chunks of 40 ms
CHUNK, SAID = 640, 960
END = '{"type": "end"}'


def sound(chunks, chunk=CHUNK):
    """Int16; none begins with a sample that means something to the mirror."""
    x = np.random.default_rng(0).integers(-9000, 9000, (chunks, chunk)).astype("<i2")
    x[:, 0] = np.abs(x[:, 0])
    return x


def small_socket(server):
    """One that takes little before it is read. Small segments, or a window that holds none of them would stop everything."""
    near = socket.socket()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    near.connect(("127.0.0.1", server.port))
    return near


def narrow(server, url=None):
    """A connection whose client takes as little as it can before it reads.

    Not the blocking client, whose senders lock out its reader.
    """
    return async_connect(
        url or server.ws,
        sock=small_socket(server),
        proxy=None,
        max_queue=1,
        ping_interval=None,
        open_timeout=PATIENCE_S,
    )


async def rest(ws):
    """(documents, frames of sound, close code)."""
    documents, frames = [], []
    try:
        while True:
            message = await asyncio.wait_for(ws.recv(), PATIENCE_S)
            if isinstance(message, bytes):
                frames.append(message)
            else:
                documents.append(json.loads(message))
    except ConnectionClosed as closed:
        return documents, frames, closed.rcvd.code if closed.rcvd else None


async def send_all(ws, x):
    for chunk in x:
        await ws.send(chunk.tobytes())
    await ws.send(END)


async def settled(server, name):
    """The value of a metric that has begun to grow and stands still."""
    seen = [-1.0, 0.0]
    while seen[-1] != seen[-2] or seen[-1] == 0:
        await asyncio.sleep(0.3)
        seen.append(await asyncio.to_thread(server.metric, name))
    return seen[-1]


def ends_well(ws):
    """Whether a session is still there to hear a chunk and come to its end."""
    ws.send(sound(1, 5120).tobytes())
    ws.send(END)
    return json.loads([message for message in ws if isinstance(message, str)][-1]) == {"type": "bye", "reason": "end"}


def test_a_client_in_real_time_that_does_not_read_loses_the_oldest_sound_and_is_told():
    x = sound(120)

    async def main(server):
        async with narrow(server) as ws:
            await ws.send(json.dumps(SMALL))
            unsent, began_s = [], time.monotonic()
            for i, chunk in enumerate(x):
                await asyncio.sleep(max(0.0, began_s + i * 0.04 - time.monotonic()))
                await ws.send(chunk.tobytes())
                if i % 10 == 0:
                    unsent.append(await asyncio.to_thread(server.metric, "sca_unsent_seconds"))
            while server.metric("sca_chunks_stepped_total") < len(x):  # the conversation goes on
                await asyncio.sleep(0.02)
            await ws.send(END)
            return max(unsent), await rest(ws)

    with running(Mirror(), live__speak_buffer_ms=200, live__lag_policy="skip") as server:
        most_unsent_s, (documents, frames, code) = asyncio.run(main(server))
        dropped_s = server.metric("sca_sound_dropped_seconds_total")
    assert code == 1000
    assert dropped_s > 0
    assert 0.1 < most_unsent_s <= 0.2
    told = sum(d["samples"] for d in documents if d.get("type") == "dropped")
    assert told == round(dropped_s * 24_000)
    assert len(frames) * SAID + told == len(x) * SAID
    assert [d["chunk_index"] for d in documents if "chunk_ms" in d] == list(range(len(x)))
    said = [d["chunk_index"] for d in documents if d.get("type") == "audio"]
    assert said == sorted(said)
    assert said[-1] == len(x) - 1  # the newest is never the one that goes
    for index, frame in zip(said, frames, strict=True):
        assert np.array_equal(np.frombuffer(frame, "<i2")[-CHUNK:], x[index])


def test_a_realtime_client_that_does_not_read_is_told_by_an_error_event():
    audio = base64.b64encode(sound(1, 3840).tobytes()).decode()  # 160 ms at 24 kHz

    async def main(server):
        url = f"ws://127.0.0.1:{server.port}/v1/realtime"
        async with narrow(server, url) as ws:
            while not await asyncio.to_thread(server.metric, "sca_sound_dropped_seconds_total"):
                await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                await asyncio.sleep(0.16)
            while True:
                event = json.loads(await asyncio.wait_for(ws.recv(), PATIENCE_S))
                if event["type"] == "error":
                    ws.transport.abort()  # a close would first read all the rest
                    return event["error"]

    with running(Mirror(), live__speak_buffer_ms=320, live__lag_policy="skip") as server:
        error = asyncio.run(main(server))
    assert (error["type"], error["code"]) == ("session_warning", "output_audio_dropped")
    assert "ms of the response were dropped" in error["message"]


def test_a_client_ahead_of_real_time_that_does_not_read_is_waited_for():
    x = sound(400, 5120)

    async def main(server):
        async with narrow(server) as ws:
            server.take_little()
            sending = asyncio.create_task(send_all(ws, x))
            heard = await settled(server, "sca_chunks_heard_total")
            unsent_s = server.metric("sca_unsent_seconds")
            assert not sending.done()
            found = await rest(ws)
            await sending
            return heard, unsent_s, found

    # The buffer is what a machine may stand still for before its clock, ahead of the sound then, calls it late.
    with running(Mirror(), live__lag_policy="skip", live__listen_buffer_ms=12_800) as server:
        heard, unsent_s, (documents, frames, code) = asyncio.run(main(server))
        assert server.metric("sca_sound_dropped_seconds_total") == 0
    assert heard < 100  # it stood still, and what had not been heard waited at the sender
    assert unsent_s <= 0.96
    assert code == 1000
    assert np.array_equal(np.stack([np.frombuffer(frame, "<i2")[-5120:] for frame in frames]), x)
    assert not [d for d in documents if d.get("type") in ("dropped", "lag")]


class Gated(Mirror):
    """Hears only when it is let."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def open(self, config):
        session = super().open(config)
        step = session.step
        session.step = lambda heard: step(heard) if self.gate.wait(PATIENCE_S) else []
        return session


def test_a_client_that_sends_too_fast_is_not_taken_in_and_is_not_gone():
    """Its answer to a ping lies behind its sound, which nobody reads yet."""
    engine, x = Gated(), sound(400, 5120)

    async def main(server):
        async with narrow(server) as ws:
            server.take_little()
            sending = asyncio.create_task(send_all(ws, x))
            heard = await settled(server, "sca_chunks_heard_total")
            for _ in range(4):  # it is asked, and may not answer in time, twice
                server.later(15)
            assert not sending.done()
            engine.gate.set()
            found = await rest(ws)
            await sending
            return heard, found

    hurried = {"live__listen_buffer_ms": 1600, "live__hang_s": 1000.0}
    with running(engine, ping_s=10.0, ping_timeout_s=10.0, **hurried) as server:
        heard, (documents, frames, code) = asyncio.run(main(server))
    assert heard <= 2 * 1600 / 320  # what `live.listen_buffer_ms` allows before the engine, and the chunks in it
    assert code == 1000
    assert len(frames) == len(x)
    assert not [d for d in documents if d.get("type") in ("dropped", "error")]


def mute(server, messages=0):
    """A peer that shakes hands, sends so many chunks, and neither reads nor answers anything any more."""
    near = small_socket(server)
    near.sendall(
        f"GET /ws/pcm16 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    while near.recv(1) != b"\n" or near.recv(2) != b"\r\n":  # the head of the answer
        pass
    threading.Thread(target=_say, args=(near, messages)).start()
    return near


def _say(near, messages):
    with suppress(OSError):  # cut before all of it is taken
        for chunk in sound(messages, 5120):
            near.sendall(b"\x82\xfe" + (10_240).to_bytes(2, "big") + bytes(4) + chunk.tobytes())


@pytest.mark.parametrize("chunks", [0, 1, 40])
def test_a_peer_that_is_gone_without_a_word_is_dropped_and_others_stay(chunks):
    with (
        running(Mirror(), idle_s=1e6, session_s=1e6) as server,
        connect(server.ws, proxy=None) as other,
        mute(server, chunks),
    ):
        while server.server.sessions.started < 2:
            time.sleep(0.01)
        while len(server.server.sessions) > 1:
            server.later(20)  # both are asked, or their time to answer is over
            other.ping().wait(PATIENCE_S)
        assert ends_well(other)
        assert server.empty()


def test_a_peer_that_is_gone_and_may_come_back_is_waited_for():
    with running(Mirror(), resume_s=1e6) as server, mute(server) as near:
        text = b'{"resume": true}'
        near.sendall(b"\x81" + bytes([0x80 + len(text)]) + bytes(4) + text)
        assert near.recv(1) == b"\x81"  # the answer begins
        while not server.metric("sca_sessions_waiting"):
            server.later(20)
        assert len(server.server.sessions) == 1
        server.stop().result(PATIENCE_S)


@pytest.mark.parametrize("path", ["ws/pcm16", "v1/realtime", "twilio"])
def test_who_finds_no_room_is_told_at_once_and_nobody_queues(path):
    with running(Mirror(), max_sessions=1) as server, connect(server.ws, proxy=None) as first:
        url = f"ws://127.0.0.1:{server.port}/{path}"
        with connect(url, proxy=None) as second, pytest.raises(ConnectionClosed) as refused:
            second.recv(timeout=60)
        assert refused.value.rcvd.code == 1013
        assert refused.value.rcvd.reason == "1 session is open, and that is the limit"
        answer = httpx.post(f"{server.url}/infer_wav", files={"file": ("a.wav", b"")})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"] == {"status": 503, "what": "1 session is open, and that is the limit"}
        assert server.metric("sca_sessions_refused") == 2
        assert ends_well(first)
