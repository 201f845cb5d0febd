"""Live servers for tests: the application on a free port in a thread, with any engine, and the real process."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import uvicorn

from sca.audio.pcm import pcm16_bytes
from sca.config import load_settings
from sca.infer.engine import EngineInfo, StepGuard
from sca.infer.frames import AudioOutput, ThoughtPacket, TurnEnd
from sca.infer.server.app import connection_limits, make_app, websocket_options
from sca.infer.server.core.state import ServerContext
from sca.infer.server.transport.uvicorn_server import TlsFiles, listen, server_config
from tests.helpers.timeouts import TIMEOUT_S, until

# On a busy machine a session lags. These settings prevent that anything is dropped or reported because of it.
RELAXED = {
    "live.lag_policy": "wait",
    "live.lag_chunks": 1000,
    "live.listen_buffer_ms": 60_000,
    "live.deadline_ms": 60_000,
    "live.hang_s": TIMEOUT_S,
}


class MirrorEngine:
    """An engine that repeats every chunk at once, as the end of a chunk of output that is otherwise silent.

    A chunk that starts with the sample 1.0 makes its session fail; one that starts with a negative sample ends the
    turn.

    Attributes:
        opened: The configurations of the opened sessions.
        closed: The ids of the closed sessions.
    """

    info = EngineInfo("mirror", "repeats every chunk", uses_features=False)

    def __init__(self):
        self.opened, self.closed = [], []

    def open(self, config):
        self.opened.append(config)
        return _MirrorSession(self, config)


class _MirrorSession:
    def __init__(self, engine, config):
        self._engine, self._config = engine, config
        self._guard = StepGuard(config.grid.heard_samples)
        self._turn = 0

    def step(self, heard):
        self._guard.check(heard)
        if heard.samples[0] >= 0.999:
            raise ZeroDivisionError("the engine broke")
        output = bytes(2 * (self._config.grid.spoken_samples - len(heard.samples))) + pcm16_bytes(heard.samples)
        text = f"chunk {heard.chunk_index}"
        return [
            ThoughtPacket(None, text, (1,), heard.chunk_index),
            AudioOutput(output, 24_000, text, heard.chunk_index, self._turn),
            *([TurnEnd(self._turn, heard.timestamp)] if heard.samples[0] < 0 else []),
        ]

    def interrupt(self, turn_id):
        self._turn = max(self._turn, turn_id)

    def reset(self):
        self._guard.reset()

    def close(self):
        self._guard.close()
        self._engine.closed.append(self._config.session_id)


class _AdvanceableLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock that can be advanced."""

    ahead_s = 0.0

    def time(self):
        return super().time() + self.ahead_s


class RunningServer:
    """A running server.

    Attributes:
        context: The context of its endpoints.
        loop: Its event loop.
        url: Its address.
        ws: The address of `WS /ws/pcm16`.
    """

    def __init__(self, context, port, loop, uvicorn_server):
        self.context, self.port, self.loop, self._uvicorn = context, port, loop, uvicorn_server
        secure = "s" if uvicorn_server.config.is_ssl else ""
        self.url, self.ws = f"http{secure}://127.0.0.1:{port}", f"ws{secure}://127.0.0.1:{port}/ws/pcm16"

    def abort_connections(self):
        """Break every connection without closing it, as a network failure does."""

        async def abort():
            for connection in list(self._uvicorn.server_state.connections):
                connection.transport.abort()

        asyncio.run_coroutine_threadsafe(abort(), self.loop).result(TIMEOUT_S)

    def advance_clock(self, seconds):
        """Advance the server's clock and run what is then due."""

        async def advance():
            self.loop.ahead_s += seconds
            for _ in range(5):
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(advance(), self.loop).result(TIMEOUT_S)

    def shrink_socket_buffers(self):
        """Make the system buffer little unread data. Its default is megabytes, depending on earlier throughput."""
        for connection in list(self._uvicorn.server_state.connections):
            near = connection.transport.get_extra_info("socket")
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)

    def metric(self, name):
        """Return the sum of a metric over all labels, or over those in the name."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def start_drain(self):
        """Start what a signal starts: reject new sessions and end the others."""
        return asyncio.run_coroutine_threadsafe(self.context.sessions.drain(), self.loop)

    def wait_empty(self):
        """Wait until all sessions have ended, and return whether they have."""
        until(lambda: len(self.context.sessions) == 0)
        return True


@contextmanager
def running(engine, tls=None, **overrides):
    """Serve an engine with relaxed settings.

    Args:
        engine: The engine.
        tls: The files of a certificate and of its key, for https.
        **overrides: Settings of the section `serve`, or of another section with `__` for the dot.
    """
    names = RELAXED | {(k.replace("__", ".") if "__" in k else f"serve.{k}"): v for k, v in overrides.items()}
    context = ServerContext(engine, load_settings(overrides=names, env={}))
    with listen("127.0.0.1", 0) as listener:
        config = server_config(
            make_app(context),
            connection_limits(context.settings.serve, lambda status: context.metrics.rejections.labels(status).inc()),
            websockets=websocket_options(context.settings.serve, context.sessions.drain),
            tls=None if tls is None else TlsFiles(*tls),
        )
        server, loop = uvicorn.Server(config), _AdvanceableLoop()
        thread = threading.Thread(target=loop.run_until_complete, args=[server.serve([listener])])
        thread.start()
        try:
            until(lambda: server.started)
            yield RunningServer(context, listener.getsockname()[1], loop, server)
        finally:
            server.should_exit = True
            thread.join()
            loop.close()


def certificate(folder):
    """Make a certificate of this machine. Returns its file and that of its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def process(*options, module=("sca", "serve"), program=None):
    """Run the real command, or a Python program instead. Yields the process and its URL once it listens.

    The engine is the parrot, unless the options name another one.
    """
    command = [sys.executable, *(["-m", *module] if program is None else ["-c", program]), "--port", "0", *options]
    env = {"SCA_LIVE_ENGINE": "parrot"} | os.environ
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
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
