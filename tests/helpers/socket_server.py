"""The part that servers of realtime protocols for client tests share: a port, a thread per connection, breaks."""

import base64
import contextlib
import json
import threading
from urllib.parse import parse_qs, urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from sca.audio.pcm import pcm16_bytes, pcm16_samples
from sca.audio.resample import resample
from tests.helpers.timeouts import TIMEOUT_S

PIECE = 9600
"""Bytes of audio per delta, 0.2 s; like that of real servers, not a divisor of a chunk."""


def spoken_again(heard):
    """Return int16 audio at 16 kHz as the servers say it, at 24 kHz."""
    return pcm16_bytes(resample(pcm16_samples(heard), 16_000, 24_000))


def loudness(pcm):
    """Return the root mean square of int16 audio, in [0, 1]."""
    return float(np.sqrt(np.mean(pcm16_samples(pcm) ** 2))) if pcm else 0.0


def pieces_of(pcm):
    return [pcm[i : i + PIECE] for i in range(0, len(pcm), PIECE)]


def encoded(pcm):
    return base64.b64encode(pcm).decode("ascii")


class SocketServer:
    """A context manager that listens on a free port of 127.0.0.1. A subclass implements `converse`.

    Args:
        acts: The behaviour for each answer, then "answer". `slow`: each piece waits for `go`. `late`: the first sound
            takes 1.5 s. `die`: the connection ends after two pieces. `silent`: no answer.

    Attributes:
        sessions: One object of `session_class` per connection.
        problems: Faults of the client, and of the server itself. There must be none in the end.
    """

    session_class = None
    ends = (ConnectionClosed, OSError)  # how a connection may end

    def __init__(self, acts=()):
        self.acts = list(acts)
        self.sessions, self.problems = [], []
        self.go = threading.Semaphore(0)

    def __enter__(self):
        self._server = serve(self._serve, "127.0.0.1", 0, process_request=self.check_request, max_size=1 << 22)
        self.port = self._server.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self.stop()
        assert self.problems == []

    def stop(self):
        self.go.release(1000)
        self.drop()
        self._server.shutdown()
        self._thread.join(10)

    def drop(self):
        """Break all connections."""
        for session in self.sessions:
            session.drop()

    def check_request(self, connection, request):
        if urlsplit(request.path).path != "/v1/realtime":
            return connection.respond(404, "no such path\n")
        return None

    def next_act(self):
        return self.acts.pop(0) if self.acts else "answer"

    def _serve(self, socket):
        session = self.session_class(self, socket)
        self.sessions.append(session)
        try:
            session.run()
        except self.ends:
            pass
        except Exception as error:
            self.problems.append(repr(error))
            raise
        finally:
            session.stopped.set()


class SocketSession:
    """One connection. `received` has the types of the events of the client, `raw` the events without their audio."""

    def __init__(self, server, socket):
        self.server, self.socket = server, socket
        self.query = parse_qs(urlsplit(socket.request.path).query)
        self.received, self.raw = [], []
        self.stopped = threading.Event()
        self.lock = threading.Lock()

    def drop(self):
        with contextlib.suppress(OSError):
            self.socket.socket.shutdown(2)

    def write(self, event):
        with self.lock:
            self.socket.send(json.dumps(event))

    def read(self, message):
        """Return an event of the client, and remember it."""
        event = json.loads(message)
        self.received.append(event["type"])
        self.raw.append({key: value for key, value in event.items() if key != "audio"})
        return event

    def wait(self, act, stopped):
        """Wait as an act says before the first sound; return whether to go on."""
        if act == "silent":
            stopped.wait(TIMEOUT_S)
        elif act == "late":
            stopped.wait(1.5)
        return not stopped.is_set()
