"""The live server with an engine that steps many sessions at once: real sockets, the real worker thread."""

import asyncio
import json
import threading
import time

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.timeouts import TIMEOUT_S
from tests.helpers.tone_engine import step_or_error

CHUNK, CHUNKS, CLIENTS = 5120, 12, 6
BROKEN = 2


class BatchMirrorEngine(MirrorEngine):
    """A mirror engine that steps many sessions in the time of one."""

    def __init__(self):
        super().__init__()
        self.batches, self.threads = [], set()

    def step_batch(self, sessions, inputs):
        time.sleep(0.02)
        self.batches.append(len(sessions))
        self.threads.add(threading.get_ident())
        assert len(set(map(id, sessions))) == len(sessions)
        return [step_or_error(session, heard) for session, heard in zip(sessions, inputs, strict=True)]


async def talk(server, x):
    """Run a session, and return (output as int16, by chunk; close code)."""
    spoken = []
    async with connect(server.ws, proxy=None, open_timeout=TIMEOUT_S) as ws:
        for chunk in x:
            await ws.send(chunk.tobytes())
        await ws.send(json.dumps({"type": "end"}))
        try:
            while True:
                message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
                if isinstance(message, bytes):
                    spoken.append(np.frombuffer(message, "<i2")[-CHUNK:])
        except ConnectionClosed as closed:
            return np.stack(spoken), closed.rcvd.code


def test_sessions_share_batches_and_keep_their_own_audio():
    x = np.random.default_rng(0).integers(-9000, 9000, (CLIENTS, CHUNKS, CHUNK)).astype("<i2")
    x[:, :, 0] = np.abs(x[:, :, 0])
    x[BROKEN, 5, 0] = 32767  # makes the mirror engine fail

    async def main(server):
        return await asyncio.gather(*(talk(server, samples) for samples in x))

    engine = BatchMirrorEngine()
    # A chunk waits for those of the other sessions, even if their clients are slow.
    with running(engine, live__batch_wait_ms=1000.0) as server:
        found = asyncio.run(main(server))
        assert server.wait_empty()
    for i, (spoken, code) in enumerate(found):
        heard = 5 if i == BROKEN else CHUNKS
        assert code == (1011 if i == BROKEN else 1000)
        assert np.array_equal(spoken, x[i, :heard])
    steps = (CLIENTS - 1) * CHUNKS + 6
    assert sum(engine.batches) == steps
    assert len(engine.batches) < steps / 2
    assert len(engine.threads) == 1
    assert sorted(engine.closed) == sorted(config.session_id for config in engine.opened)
