"""A connection to a realtime server that is there when it can be: made anew when it breaks, read and written in threads of its own.

Nothing here makes a session wait: what is sent goes into an outbox, what comes waits in an inbox, and the state of the connection
comes in the same order as an event of ours (`Broken`, `Restored`, `Lost`).

    a failure                                         what is raised         exit code
    nobody listens, no answer in time                 UpstreamError          6
    401, 403: no key, or another                      ConfigError            3
    another status, no realtime endpoint              UpstreamError          6
    the server refuses the session                    UpstreamError          6
"""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sca.config import VllmConfig
from sca.errors import ConfigError, MissingToolError, ScaError, UpstreamError
from sca.infer.engines.vllm_omni import protocol
from sca.textutil import first_line

__all__ = ["Broken", "Lost", "RealtimeConnection", "Restored"]

log = logging.getLogger(__name__)

_MOST_WAITING = 64 << 20
"""Characters of messages that wait to be read, about 17 minutes of sound: a server that sends more without end is cut off."""

_MESSAGE_BYTES = 16 << 20
_CLOSE_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection broke; it is being made anew. why: in one line."""

    why: str


@dataclass(frozen=True, slots=True)
class Restored:
    """There is a connection again, to a new session of the server."""


@dataclass(frozen=True, slots=True)
class Lost:
    """It could not be made anew: the last event."""

    error: ScaError


Heard = protocol.Event | Broken | Restored | Lost


class RealtimeConnection:
    """See the module. hello: the event that begins each session of the server.

    Raises, when made, what the table says, and `MissingToolError` without the package websockets.   ready: whether what is sent
    now would leave.
    """

    def __init__(self, url: str, hello: protocol.Event, vllm: VllmConfig) -> None:
        self._url, self._hello, self._vllm = url, hello, vllm
        parts = urlsplit(url)
        self.where = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        self._inbox: queue.SimpleQueue[tuple[Heard, int]] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[protocol.Event | None] = queue.SimpleQueue()
        self._waiting = 0
        self._count = threading.Lock()
        self._socket: Any = None
        self._closing = threading.Event()
        self._opened = threading.Event()
        self._failure: BaseException | None = None
        self.ready = False
        threading.Thread(target=self._run, name="sca vllm-omni", daemon=True).start()
        self._opened.wait()
        if self._failure is not None:
            raise self._failure

    def send(self, events: list[protocol.Event]) -> None:
        """Send these when there is a connection; else they are gone."""
        if self.ready:
            for event in events:
                self._outbox.put(event)

    def take(self, timeout_s: float = 0.0) -> Heard | None:
        """The next event, waiting for it no longer than that; None when there is none."""
        try:
            event, size = self._inbox.get(timeout=timeout_s) if timeout_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None
        with self._count:
            self._waiting -= size
        return event

    def close(self) -> None:
        """Say goodbye, without waiting for it."""
        self._closing.set()
        self.ready = False
        self._outbox.put(None)

    def _put(self, event: Heard, size: int = 0) -> None:
        with self._count:
            self._waiting += size
        self._inbox.put((event, size))

    def _run(self) -> None:
        """The thread: one connection after the other."""
        try:
            self._serve(first=True)
        except BaseException as error:  # noqa: BLE001 - raised where the link is made
            self._failure = error
        self._opened.set()

    def _serve(self, *, first: bool) -> None:
        tries, pause_s = 0, _FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                with self._connected() as socket:
                    self._begin(socket, first=first)
                    first, tries, pause_s = False, 0, _FIRST_PAUSE_S
                    why = self._converse(socket)
            except ScaError as error:
                if first:
                    raise
                why, failure = error.message, error
            else:
                failure = UpstreamError(f"the connection to {self.where} broke: {why}")
                if not self._closing.is_set():
                    self._put(Broken(why))
            self.ready = False
            if tries >= self._vllm.reconnects or isinstance(failure, ConfigError):
                after = f" ({tries} attempts to connect again failed)" if tries else ""
                self._put(Lost(type(failure)(f"{failure.message}{after}", hint=failure.hint)))
                return
            tries += 1
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            from websockets.exceptions import InvalidStatus, WebSocketException
            from websockets.sync.client import connect
        except ImportError as error:
            raise MissingToolError(
                "the engine vllm-omni needs websockets, which is not installed",
                hint="install the extra live: uv sync --inexact --extra live, or pip install 'sca[live]'",
            ) from error
        key = self._vllm.api_key
        headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
        near = urlsplit(self._url).hostname in ("127.0.0.1", "localhost", "::1")
        hint = "is `vllm serve … --omni` running there? --base-url says where"
        try:
            opening = connect(
                self._url,
                additional_headers=headers,
                proxy=None if near else True,
                open_timeout=self._vllm.connect_timeout_s,
                close_timeout=_CLOSE_S,
                max_size=_MESSAGE_BYTES,
            )
            socket = opening.__enter__()
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                said = "wants a key" if key is None else "refuses the key"
                raise ConfigError(
                    f"{self.where} {said} (status {status})", hint="set SCA_VLLM_API_KEY to the key of that server"
                ) from error
            raise UpstreamError(f"{self.where} is no realtime endpoint: status {status}", hint=hint) from error
        except TimeoutError as error:
            raise UpstreamError(
                f"{self.where} does not answer within {self._vllm.connect_timeout_s:g} s", hint=hint
            ) from error
        except (OSError, WebSocketException, ValueError) as error:
            raise UpstreamError(f"cannot connect to {self.where}: {first_line(error)}", hint=hint) from error
        self._socket = socket
        try:
            yield socket
        finally:
            self._socket = None
            with contextlib.suppress(Exception):
                opening.__exit__(None, None, None)

    def _begin(self, socket: Any, *, first: bool) -> None:
        """Agree on the session. Raises `UpstreamError`."""
        from websockets.exceptions import ConnectionClosed

        until_s = time.monotonic() + self._vllm.connect_timeout_s
        try:
            socket.send(json.dumps(self._hello))
            while (event := protocol.read(socket.recv(max(0.0, until_s - time.monotonic()))))[
                "type"
            ] != "session.updated":
                if event["type"] == "error":
                    raise UpstreamError(
                        f"{self.where} refuses the session: {protocol.error_line(event)}",
                        hint="vllm.model and vllm.voice have to be ones that it has",
                    )
        except TimeoutError as error:
            raise UpstreamError(
                f"{self.where} does not begin a session within {self._vllm.connect_timeout_s:g} s",
                hint="it has to speak the OpenAI Realtime protocol (session.update is answered with session.updated)",
            ) from error
        except protocol.ProtocolError as error:
            raise UpstreamError(f"{self.where} sent {error}") from error
        except ConnectionClosed as error:
            raise UpstreamError(f"{self.where} closed the connection: {first_line(error)}") from error
        self._outbox = queue.SimpleQueue()  # what was meant for an earlier connection is not for this one
        self.ready = not self._closing.is_set()
        if not first:
            self._put(Restored())
        self._opened.set()

    def _converse(self, socket: Any) -> str:
        """Read and write until the connection ends; why it did."""
        from websockets.exceptions import ConnectionClosed

        outbox = self._outbox
        writer = threading.Thread(target=_write, args=(socket, outbox), name="sca vllm-omni out", daemon=True)
        writer.start()
        if self._closing.is_set():  # closed before this outbox was there
            outbox.put(None)
        try:
            while True:
                message = socket.recv()
                self._put(protocol.read(message), len(message))
                if self._waiting > _MOST_WAITING:
                    return f"it sends faster than can be said: more than {_MOST_WAITING >> 20} MB wait"
        except ConnectionClosed as error:
            return first_line(error)
        except protocol.ProtocolError as error:
            return f"it sent {error}"
        finally:
            outbox.put(None)


def _write(socket: Any, outbox: "queue.SimpleQueue[protocol.Event | None]") -> None:
    with contextlib.suppress(Exception):  # whoever reads learns why
        while (event := outbox.get()) is not None:
            socket.send(json.dumps(event))
        socket.close()
