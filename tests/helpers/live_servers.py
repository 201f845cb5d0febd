"""Live servers for tests: the application on a free port in a thread, with any engine, and the real process."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import uvicorn

from sca.config import load_settings
from sca.infer.engine import EngineInfo, StepGuard
from sca.infer.frames import AudioOutput, ThoughtPacket, TurnEnd
from sca.infer.server.app import connection_limits, make_app, websocket_options
from sca.infer.server.core.state import ServerContext
from sca.infer.server.transport.uvicorn_server import listen, server_config
from tests.helpers.patience import PATIENCE_S

# What a busy machine does to a session is no lag: nothing is dropped for it, and nothing is told.
UNHURRIED = {
    "live.lag_policy": "wait",
    "live.lag_chunks": 1000,
    "live.listen_buffer_ms": 60_000,
    "live.deadline_ms": 60_000,
    "live.hang_s": PATIENCE_S,
}


class Mirror:
    """An engine that says every chunk back at once: its samples are the end of an answer that is otherwise silent.

    A chunk that begins with the sample 1.0 makes its session fail.   opened: the sessions' configurations.
    """

    info = EngineInfo("mirror", "says every chunk back", uses_features=False)

    def __init__(self):
        self.opened, self.closed = [], []

    def open(self, config):
        self.opened.append(config)
        return _Mirrored(self, config)


class _Mirrored:
    def __init__(self, engine, config):
        self._engine, self._config = engine, config
        self._guard = StepGuard(config.grid.heard_samples)
        self._turn = 0

    def step(self, heard):
        self._guard.check(heard)
        if heard.samples[0] >= 0.999:
            raise ZeroDivisionError("the engine broke")
        said = np.zeros(self._config.grid.spoken_samples, "<i2")
        said[-len(heard.samples) :] = np.rint(heard.samples * 32768)
        text = f"chunk {heard.chunk_index}"
        return [
            ThoughtPacket(None, text, (1,), heard.chunk_index),
            AudioOutput(said.tobytes(), 24_000, text, heard.chunk_index, self._turn),
            *([TurnEnd(self._turn, heard.timestamp)] if heard.samples[0] < 0 else []),
        ]

    def interrupt(self, turn_id):
        self._turn = max(self._turn, turn_id)

    def reset(self):
        self._guard.reset()

    def close(self):
        self._guard.close()
        self._engine.closed.append(self._config.session_id)


class _Loop(asyncio.SelectorEventLoop):
    """One whose clock can be put forward."""

    ahead_s = 0.0

    def time(self):
        return super().time() + self.ahead_s


class Running:
    """A server that answers.   server: what its doors share.   loop: the one it runs in."""

    def __init__(self, server, port, loop, uvi):
        self.server, self.port, self.loop, self._uvi = server, port, loop, uvi
        self.url, self.ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/ws/pcm16"

    def cut(self):
        """Break every connection, as a network does: no one closes anything."""

        async def abort():
            for connection in list(self._uvi.server_state.connections):
                connection.transport.abort()

        asyncio.run_coroutine_threadsafe(abort(), self.loop).result(PATIENCE_S)

    def later(self, seconds):
        """Put the server's clock forward, and let it do what is due by then: long limits, and no test waits for them."""

        async def put_forward():
            self.loop.ahead_s += seconds
            for _ in range(5):
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(put_forward(), self.loop).result(PATIENCE_S)

    def take_little(self):
        """Have the system hold little of what one side has not read: left to itself it takes in megabytes, the more the quicker
        it once was read."""
        for connection in list(self._uvi.server_state.connections):
            near = connection.transport.get_extra_info("socket")
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)

    def metric(self, name):
        """The sum of a metric over its labels, or of those that the name gives."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def stop(self):
        """As a signal does: let no one in any more, and tell the sessions."""
        return asyncio.run_coroutine_threadsafe(self.server.sessions.drain(), self.loop)

    def empty(self):
        """Wait until all sessions are over, and say so."""
        until = time.monotonic() + PATIENCE_S
        while len(self.server.sessions) and time.monotonic() < until:
            time.sleep(0.01)
        return len(self.server.sessions) == 0


@contextmanager
def running(engine, **overrides):
    """Serve `engine`, unhurried. overrides: settings of the section serve, or whole names with a dot as `__`."""
    names = UNHURRIED | {(k.replace("__", ".") if "__" in k else f"serve.{k}"): v for k, v in overrides.items()}
    server = ServerContext(engine, load_settings(overrides=names, env={}))
    with listen("127.0.0.1", 0) as listener:
        config = server_config(make_app(server), connection_limits(server), websockets=websocket_options(server))
        uvi, loop = uvicorn.Server(config), _Loop()
        thread = threading.Thread(target=loop.run_until_complete, args=[uvi.serve([listener])])
        thread.start()
        try:
            while not uvi.started:
                time.sleep(0.01)
            yield Running(server, listener.getsockname()[1], loop, uvi)
        finally:
            uvi.should_exit = True
            thread.join()
            loop.close()


@contextmanager
def process(*options, module=("sca", "serve"), program=None):
    """The real command, or a Python program in its place: (process, URL) once it says that it listens."""
    how = ["-m", *module] if program is None else ["-c", program]
    command = [sys.executable, *how, "--port", "0", *options]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in started.stderr:
            lines.append(line)
            found = re.search(r"listening on (https?://\S+)", line)
            if found:
                break
        else:
            raise AssertionError("".join(lines))
        yield started, found[1]
    finally:
        started.kill()
        started.communicate()
