"""Clients of the live server that do not read, send too fast, or stop responding."""

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

from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.timeouts import TIMEOUT_S, connect, until

SMALL = {"frame_hz": 25.0, "frames_per_chunk": 1}  # chunks of 40 ms
CHUNK, OUTPUT_CHUNK = 640, 960
END = '{"type": "end"}'


def sound(chunks, chunk=CHUNK):
    """Noise as int16. No chunk starts with a sample that has a meaning for the mirror engine."""
    x = np.random.default_rng(0).integers(-9000, 9000, (chunks, chunk)).astype("<i2")
    x[:, 0] = np.abs(x[:, 0])
    return x


def small_socket(server):
    """A socket with small buffers.

    The segments are small, too: a window smaller than a segment would stop the connection.
    """
    near = socket.socket()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    near.connect(("127.0.0.1", server.port))
    return near


def narrow(server, url=None):
    """A connection with a client that buffers as little as possible before it reads.

    Not the blocking client: in that one, senders block the reader.
    """
    return async_connect(
        url or server.ws,
        sock=small_socket(server),
        proxy=None,
        max_queue=1,
        ping_interval=None,
        open_timeout=TIMEOUT_S,
    )


async def read_all(ws):
    """Read until the connection is closed: (documents, audio frames, close code)."""
    documents, frames = [], []
    try:
        while True:
            message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
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
    """Return the value of a metric once it has grown and stopped growing."""
    seen = [-1.0, 0.0]
    while seen[-1] != seen[-2] or seen[-1] == 0:
        await asyncio.sleep(0.3)
        seen.append(await asyncio.to_thread(server.metric, name))
    return seen[-1]


def ends_well(ws):
    """Return whether a session still processes a chunk and ends normally."""
    ws.send(sound(1, 5120).tobytes())
    ws.send(END)
    return json.loads([message for message in ws if isinstance(message, str)][-1]) == {"type": "bye", "reason": "end"}


def test_slow_reader_loses_the_oldest_audio():
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
            while server.metric("sca_chunks_stepped_total") < len(x):  # the session continues
                await asyncio.sleep(0.02)
            await ws.send(END)
            return max(unsent), await read_all(ws)

    with running(MirrorEngine(), live__speak_buffer_ms=200, live__lag_policy="skip") as server:
        most_unsent_s, (documents, frames, code) = asyncio.run(main(server))
        dropped_s = server.metric("sca_sound_dropped_seconds_total")
    assert code == 1000
    assert dropped_s > 0
    assert 0.1 < most_unsent_s <= 0.2
    reported = sum(d["samples"] for d in documents if d.get("type") == "dropped")
    assert reported == round(dropped_s * 24_000)
    assert len(frames) * OUTPUT_CHUNK + reported == len(x) * OUTPUT_CHUNK
    assert [d["chunk_index"] for d in documents if "chunk_ms" in d] == list(range(len(x)))
    spoken = [d["chunk_index"] for d in documents if d.get("type") == "audio"]
    assert spoken == sorted(spoken)
    assert spoken[-1] == len(x) - 1  # the newest is never dropped
    for index, frame in zip(spoken, frames, strict=True):
        assert np.array_equal(np.frombuffer(frame, "<i2")[-CHUNK:], x[index])


def test_slow_realtime_reader_gets_a_warning():
    audio = base64.b64encode(sound(1, 3840).tobytes()).decode()  # 160 ms at 24 kHz

    async def main(server):
        url = f"ws://127.0.0.1:{server.port}/v1/realtime"
        async with narrow(server, url) as ws:
            while not await asyncio.to_thread(server.metric, "sca_sound_dropped_seconds_total"):
                await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                await asyncio.sleep(0.16)
            while True:
                event = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
                assert event["type"] != "error"
                if event["type"] == "sca.warning":
                    ws.transport.abort()  # a close would read the rest first
                    return event["warning"]

    with running(MirrorEngine(), live__speak_buffer_ms=320, live__lag_policy="skip") as server:
        warning = asyncio.run(main(server))
    assert warning["code"] == "output_audio_dropped"
    assert "ms of the response were dropped" in warning["message"]


def test_slow_reader_ahead_of_real_time_loses_nothing():
    x = sound(400, 5120)

    async def main(server):
        async with narrow(server) as ws:
            server.shrink_socket_buffers()
            sending = asyncio.create_task(send_all(ws, x))
            heard = await settled(server, "sca_chunks_heard_total")
            unsent_s = server.metric("sca_unsent_seconds")
            assert not sending.done()
            found = await read_all(ws)
            await sending
            return heard, unsent_s, found

    # The buffer also covers the time that a busy machine may stall, after which the audio counts as late.
    with running(MirrorEngine(), live__lag_policy="skip", live__listen_buffer_ms=12_800) as server:
        heard, unsent_s, (documents, frames, code) = asyncio.run(main(server))
        assert server.metric("sca_sound_dropped_seconds_total") == 0
    assert heard < 100  # the sender was throttled
    assert unsent_s <= 0.96
    assert code == 1000
    assert np.array_equal(np.stack([np.frombuffer(frame, "<i2")[-5120:] for frame in frames]), x)
    assert not [d for d in documents if d.get("type") in ("dropped", "lag")]


class BlockingEngine(MirrorEngine):
    """An engine that steps only after its event is set."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def open(self, config):
        session = super().open(config)
        step = session.step
        session.step = lambda heard: step(heard) if self.gate.wait(TIMEOUT_S) else []
        return session


def test_fast_sender_is_throttled_and_stays_connected():
    """Its answers to pings are queued after its audio, which is not read yet."""
    engine, x = BlockingEngine(), sound(400, 5120)

    async def main(server):
        async with narrow(server) as ws:
            server.shrink_socket_buffers()
            sending = asyncio.create_task(send_all(ws, x))
            heard = await settled(server, "sca_chunks_heard_total")
            for _ in range(4):  # two pings time out
                server.advance_clock(15)
            assert not sending.done()
            engine.gate.set()
            found = await read_all(ws)
            await sending
            return heard, found

    limits = {"live__listen_buffer_ms": 1600, "live__hang_s": 1000.0}
    with running(engine, ping_s=10.0, ping_timeout_s=10.0, **limits) as server:
        heard, (documents, frames, code) = asyncio.run(main(server))
    assert heard <= 2 * 1600 / 320  # `live.listen_buffer_ms` before the engine, and the chunks in the engine
    assert code == 1000
    assert len(frames) == len(x)
    assert not [d for d in documents if d.get("type") in ("dropped", "error")]


def unresponsive(server, messages=0):
    """A peer that completes the handshake, sends chunks, and then neither reads nor responds."""
    near = small_socket(server)
    near.sendall(
        f"GET /ws/pcm16 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    while near.recv(1) != b"\n" or near.recv(2) != b"\r\n":  # the head of the response
        pass
    threading.Thread(target=_send_chunks, args=(near, messages)).start()
    return near


def _send_chunks(near, messages):
    with suppress(OSError):  # disconnected before all is sent
        for chunk in sound(messages, 5120):
            near.sendall(b"\x82\xfe" + (10_240).to_bytes(2, "big") + bytes(4) + chunk.tobytes())


@pytest.mark.parametrize("chunks", [0, 1, 40])
def test_unresponsive_peer_is_disconnected(chunks):
    with (
        running(MirrorEngine(), idle_s=1e6, session_s=1e6) as server,
        connect(server.ws, proxy=None) as other,
        unresponsive(server, chunks),
    ):
        until(lambda: server.context.sessions.started == 2)
        while len(server.context.sessions) > 1:
            server.advance_clock(20)  # pings are sent or time out
            other.ping().wait(TIMEOUT_S)
        assert ends_well(other)
        assert server.wait_empty()


def test_unresponsive_peer_may_resume():
    with running(MirrorEngine(), resume_s=1e6) as server, unresponsive(server) as near:
        text = b'{"resume": true}'
        near.sendall(b"\x81" + bytes([0x80 + len(text)]) + bytes(4) + text)
        assert near.recv(1) == b"\x81"  # the response starts
        while not server.metric("sca_sessions_waiting"):
            server.advance_clock(20)
        assert len(server.context.sessions) == 1
        server.start_drain().result(TIMEOUT_S)


@pytest.mark.parametrize("path", ["ws/pcm16", "v1/realtime", "twilio"])
def test_session_limit_rejects_at_once(path):
    with running(MirrorEngine(), max_sessions=1) as server, connect(server.ws, proxy=None) as first:
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
