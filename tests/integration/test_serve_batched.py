"""The live server with an engine that steps many sessions at once: real sockets, the real worker thread."""

import asyncio
import json
import threading
import time

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.helpers.live_servers import Mirror, running
from tests.helpers.patience import PATIENCE_S
from tests.helpers.tone_engine import step_or_error

CHUNK, CHUNKS, CLIENTS = 5120, 12, 6
BROKEN = 2


class Many(Mirror):
    """A mirror that takes as long for many sessions as for one."""

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
    """(sound said as int16, chunks of it; close code)."""
    said = []
    async with connect(server.ws, proxy=None, open_timeout=PATIENCE_S) as ws:
        for chunk in x:
            await ws.send(chunk.tobytes())
        await ws.send(json.dumps({"type": "end"}))
        try:
            while True:
                message = await asyncio.wait_for(ws.recv(), PATIENCE_S)
                if isinstance(message, bytes):
                    said.append(np.frombuffer(message, "<i2")[-CHUNK:])
        except ConnectionClosed as closed:
            return np.stack(said), closed.rcvd.code


def test_sessions_share_calls_and_each_hears_and_says_its_own():
    x = np.random.default_rng(0).integers(-9000, 9000, (CLIENTS, CHUNKS, CHUNK)).astype("<i2")
    x[:, :, 0] = np.abs(x[:, :, 0])
    x[BROKEN, 5, 0] = 32767  # what makes the mirror fail

    async def main(server):
        return await asyncio.gather(*(talk(server, one) for one in x))

    engine = Many()
    # A chunk that is due waits for the others until they are there, however slowly their clients send.
    with running(engine, live__batch_wait_ms=1000.0) as server:
        found = asyncio.run(main(server))
        assert server.empty()
    for i, (said, code) in enumerate(found):
        heard = 5 if i == BROKEN else CHUNKS
        assert code == (1011 if i == BROKEN else 1000)
        assert np.array_equal(said, x[i, :heard])
    steps = (CLIENTS - 1) * CHUNKS + 6
    assert sum(engine.batches) == steps
    assert len(engine.batches) < steps / 2
    assert len(engine.threads) == 1
    assert sorted(engine.closed) == sorted(config.session_id for config in engine.opened)
