"""A connection to a realtime server that reconnects, read and written by its own threads.

A session never waits for the network: events to send are queued, and received events are queued until the session takes
them. Changes of the connection arrive in the same order as events (`ConnectionBroken`, `ConnectionRestored`,
`ConnectionLost`).

    failure                                        exception              exit code
    no server, no answer in time                   UpstreamError          6
    401, 403: missing or wrong key                 ConfigError            3
    another status, not a realtime endpoint        UpstreamError          6
    the server refuses the session                 UpstreamError          6
"""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from sca.config import VllmConfig
from sca.errors import ConfigError, MissingToolError, ScaError, UpstreamError
from sca.infer.engines.vllm_omni import protocol
from sca.textutil import first_line

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["ConnectionBroken", "ConnectionEvent", "ConnectionLost", "ConnectionRestored", "RealtimeConnection"]

log = logging.getLogger(__name__)

_MOST_QUEUED = 64 << 20
"""The most characters of unread messages, about 17 minutes of audio. A server that exceeds it is disconnected."""

_MESSAGE_BYTES = 16 << 20
_CLOSE_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class ConnectionBroken:
    """The connection is broken and is being restored.

    Attributes:
        reason: Why, in one line.
        number: The number of the connection.
    """

    reason: str
    number: int


@dataclass(frozen=True, slots=True)
class ConnectionRestored:
    """There is a new connection, with a new session of the server.

    Attributes:
        number: The number of the connection.
    """

    number: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection cannot be restored. This is the last event."""

    error: ScaError


ConnectionEvent = protocol.Event | ConnectionBroken | ConnectionRestored | ConnectionLost


@dataclass(frozen=True, slots=True)
class _Line:
    """The events that are sent on one connection, and its number; None ends it."""

    number: int
    outgoing: "queue.SimpleQueue[protocol.Event | None]"


class RealtimeConnection:
    """A connection to a realtime server. The constructor returns when the session of the server is configured.

    Args:
        url: The WebSocket URL.
        first_event: The event that configures each session of the server.
        vllm: Timeouts, key and number of reconnects.

    Attributes:
        where: The URL without its query, for messages.

    Raises:
        ConfigError: See the module.
        UpstreamError: See the module.
        MissingToolError: The package websockets is not installed.
    """

    def __init__(self, url: str, first_event: protocol.Event, vllm: VllmConfig) -> None:
        self._url, self._first_event, self._vllm = url, first_event, vllm
        parts = urlsplit(url)
        self.where = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        self._received: queue.SimpleQueue[tuple[ConnectionEvent, int]] = queue.SimpleQueue()
        self._line: _Line | None = None
        self._queued = 0
        self._queued_lock = threading.Lock()
        self._closing = threading.Event()
        self._opened = threading.Event()
        self._failure: BaseException | None = None
        threading.Thread(target=self._run, name="sca vllm-omni", daemon=True).start()
        self._opened.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def ready(self) -> bool:
        """Whether events can be sent now."""
        return self._line is not None

    def send(self, events: Sequence[protocol.Event]) -> int | None:
        """Queue events to send, and return the number of the connection. Without one they are discarded; returns None."""
        line = self._line  # another thread replaces it
        if line is None:
            return None
        for event in events:
            line.outgoing.put(event)
        return line.number

    def take(self, timeout_s: float = 0.0) -> ConnectionEvent | None:
        """Return the next event, waiting up to `timeout_s`; None after that."""
        try:
            event, size = self._received.get(timeout=timeout_s) if timeout_s > 0 else self._received.get_nowait()
        except queue.Empty:
            return None
        with self._queued_lock:
            self._queued -= size
        return event

    def close(self) -> None:
        """Start closing the connection; do not wait for it."""
        self._closing.set()
        line, self._line = self._line, None
        if line is not None:
            line.outgoing.put(None)

    def _put(self, event: ConnectionEvent, size: int = 0) -> int:
        """Queue a received event; return the characters that were unread at that moment."""
        with self._queued_lock:
            self._queued += size
            queued = self._queued
        self._received.put((event, size))
        return queued

    def _run(self) -> None:
        """Connect and reconnect, in a thread."""
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - raised by the constructor
            self._failure = error
        self._opened.set()

    def _serve(self) -> None:
        number, tries, pause_s = 0, 0, _FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                with self._connected() as socket:
                    line = self._start_session(socket, number)
                    number, tries, pause_s = number + 1, 0, _FIRST_PAUSE_S
                    reason = self._converse(socket, line)
            except ScaError as error:
                if number == 0:
                    raise
                failure = error
            else:
                failure = UpstreamError(f"the connection to {self.where} broke: {reason}")
                self._line = None
                if not self._closing.is_set():
                    self._put(ConnectionBroken(reason, line.number))
            if tries >= self._vllm.reconnects or isinstance(failure, ConfigError):
                after = f" ({tries} attempts to connect again failed)" if tries else ""
                self._put(ConnectionLost(type(failure)(f"{failure.message}{after}", hint=failure.hint)))
                return
            tries += 1
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    @contextlib.contextmanager
    def _connected(self) -> "Iterator[ClientConnection]":
        with contextlib.ExitStack() as opened:
            socket = self._connect(opened)
            try:
                yield socket
            finally:
                with contextlib.suppress(Exception):
                    opened.close()

    def _connect(self, opened: contextlib.ExitStack) -> "ClientConnection":
        """Return an open connection, which `opened` closes."""
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
        is_local = urlsplit(self._url).hostname in ("127.0.0.1", "localhost", "::1")
        hint = "check that `vllm serve … --omni` runs there; --base-url sets the address"
        try:
            return opened.enter_context(
                connect(
                    self._url,
                    additional_headers=headers,
                    proxy=None if is_local else True,
                    open_timeout=self._vllm.connect_timeout_s,
                    close_timeout=_CLOSE_S,
                    max_size=_MESSAGE_BYTES,
                )
            )
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                problem = "requires a key" if key is None else "refuses the key"
                raise ConfigError(
                    f"{self.where} {problem} (status {status})", hint="set SCA_VLLM_API_KEY to the key of that server"
                ) from error
            raise UpstreamError(f"{self.where} is not a realtime endpoint: status {status}", hint=hint) from error
        except TimeoutError as error:
            raise UpstreamError(
                f"{self.where} does not respond within {self._vllm.connect_timeout_s:g} s", hint=hint
            ) from error
        except (OSError, WebSocketException, ValueError) as error:
            raise UpstreamError(f"cannot connect to {self.where}: {first_line(error)}", hint=hint) from error

    def _start_session(self, socket: "ClientConnection", number: int) -> _Line:
        """Configure the session of the server, from then on accept events to send.

        Raises:
            UpstreamError: The server refuses the session or does not answer.
        """
        from websockets.exceptions import ConnectionClosed

        deadline_s = time.monotonic() + self._vllm.connect_timeout_s
        try:
            socket.send(json.dumps(self._first_event))
            while True:
                event = protocol.parse_event(socket.recv(max(0.0, deadline_s - time.monotonic())))
                if event["type"] == "session.updated":
                    break
                if event["type"] == "error":
                    raise UpstreamError(
                        f"{self.where} refuses the session: {protocol.error_line(event)}",
                        hint="set vllm.model and vllm.voice to values that the server supports",
                    )
        except TimeoutError as error:
            raise UpstreamError(
                f"{self.where} does not start a session within {self._vllm.connect_timeout_s:g} s",
                hint="the server must speak the OpenAI Realtime protocol (session.update is answered with session.updated)",
            ) from error
        except protocol.ProtocolError as error:
            raise UpstreamError(f"{self.where} sent {error}") from error
        except ConnectionClosed as error:
            raise UpstreamError(f"{self.where} closed the connection: {first_line(error)}") from error
        line = _Line(number, queue.SimpleQueue())  # events for an earlier connection are discarded
        self._line = line
        if number:
            self._put(ConnectionRestored(number))
        self._opened.set()
        return line

    def _converse(self, socket: "ClientConnection", line: _Line) -> str:
        """Read and write until the connection ends; return the reason."""
        from websockets.exceptions import ConnectionClosed

        outgoing = line.outgoing
        threading.Thread(target=_write, args=(socket, outgoing), name="sca vllm-omni out", daemon=True).start()
        if self._closing.is_set():  # closed before this queue existed
            self._line = None
            outgoing.put(None)
        try:
            while True:
                message = socket.recv()
                if self._put(protocol.parse_event(message), len(message)) > _MOST_QUEUED:
                    return f"it sends audio faster than it can be played: more than {_MOST_QUEUED >> 20} MB are unread"
        except ConnectionClosed as error:
            return first_line(error)
        except protocol.ProtocolError as error:
            return f"it sent {error}"
        finally:
            outgoing.put(None)


def _write(socket: "ClientConnection", outgoing: "queue.SimpleQueue[protocol.Event | None]") -> None:
    with contextlib.suppress(Exception):  # the reading thread reports the reason
        while (event := outgoing.get()) is not None:
            socket.send(json.dumps(event))
        socket.close()
