"""A connection to a realtime server that reconnects, read and written by its own threads.

A session never waits for the network: events to send are queued, and received events are queued until the session takes
them. Changes of the connection arrive in the same order as events (`ConnectionBroken`, `ConnectionRestored`,
`ConnectionLost`).

    failure                                        exception              exit code
    no server, no answer in time                   UpstreamError          6
    401: missing or wrong key                      ConfigError            3
    another status, not a realtime endpoint        UpstreamError          6
    the server refuses the session                 UpstreamError          6
"""

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from sca.config import VllmConfig
from sca.errors import ScaError, UpstreamError
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.dial import connected
from sca.infer.engines.vllm_omni.dialect import Dialect
from sca.infer.engines.vllm_omni.duplex import DuplexDialect
from sca.infer.engines.vllm_omni.handshake import Handshake, OpenAgainError
from sca.infer.engines.vllm_omni.protocol import Event
from sca.textutil import first_line

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["ConnectionBroken", "ConnectionEvent", "ConnectionLost", "ConnectionRestored", "RealtimeConnection"]

log = logging.getLogger(__name__)

_MOST_QUEUED = 64 << 20
"""The most characters of unread messages, about 17 minutes of audio. A server that exceeds it is disconnected."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0
_HEARTBEAT_S = 30.0


@dataclass(frozen=True, slots=True)
class ConnectionBroken:
    """The connection is broken and is being restored.

    Attributes:
        reason: Why, in one line.
        number: The number of the connection.
        can_resume: Whether the session of the server may continue on the next one.
    """

    reason: str
    number: int
    can_resume: bool


@dataclass(frozen=True, slots=True)
class ConnectionRestored:
    """There is a new connection.

    Attributes:
        number: The number of the connection.
        dialect: The protocol on it.
        is_resumed: Whether the session of the server continues. If not, there is a new one.
    """

    number: int
    dialect: Dialect
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection cannot be restored. This is the last event."""

    error: ScaError


ConnectionEvent = Event | ConnectionBroken | ConnectionRestored | ConnectionLost


@dataclass(slots=True)
class _Line:
    """One connection.

    Attributes:
        number: Its number.
        dialect: The protocol on it.
        is_left: Whether the session has asked for another one.
        outgoing: The events to send; None closes it.
    """

    number: int
    dialect: Dialect
    is_left: bool = False
    outgoing: "queue.SimpleQueue[Event | None]" = field(default_factory=queue.SimpleQueue)


class RealtimeConnection:
    """A connection to a realtime server. The constructor returns when the session of the server is configured.

    Args:
        url: The WebSocket URL.
        prompt: The system prompt.
        vllm: Timeouts, key, number of reconnects, and what the session is configured with.

    Attributes:
        where: The URL without its query, for messages.
        dialect: The protocol on the first connection.

    Raises:
        ConfigError: See the module.
        UpstreamError: See the module.
        MissingToolError: The package websockets is not installed.
    """

    dialect: Dialect

    def __init__(self, url: str, prompt: str, vllm: VllmConfig) -> None:
        self._url, self._vllm = url, vllm
        parts = urlsplit(url)
        self.where = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        self._handshake = Handshake(self.where, prompt, vllm)
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

    def send(self, events: Sequence[Event], number: int | None = None) -> int | None:
        """Queue events to send, unless there is no connection.

        Args:
            events: The events.
            number: The number of the only connection on which they make sense; None for any.

        Returns:
            The number of the connection; None if the events were discarded.
        """
        line = self._line  # another thread replaces it
        if line is None or number not in (None, line.number):
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

    def renew(self) -> None:
        """Replace the connection by another one with a new session, without `ConnectionBroken`."""
        line, self._line = self._line, None
        if line is not None:
            line.is_left = True
            line.outgoing.put(None)

    def close(self) -> None:
        """Start closing the connection; do not wait for it."""
        self._closing.set()
        line, self._line = self._line, None
        if line is not None:
            for event in (*line.dialect.goodbye, None):
                line.outgoing.put(event)

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
        tries, pause_s = 0, _FIRST_PAUSE_S
        line: _Line | None = None
        while not self._closing.is_set():
            try:
                with connected(self._url, self._vllm) as socket:
                    line = self._start_session(socket, line)
                    tries, pause_s = 0, _FIRST_PAUSE_S
                    reason = self._converse(socket, line)
            except OpenAgainError:
                continue
            except ScaError as error:
                if line is None:
                    raise
                failure = error
            else:
                self._line = None
                if line.is_left:
                    continue
                failure = UpstreamError(f"the connection to {self.where} broke: {reason}")
                if not self._closing.is_set():
                    can_resume = line.dialect.resume_event() is not None
                    self._put(ConnectionBroken(reason, line.number, can_resume))
            if tries >= self._vllm.reconnects or not isinstance(failure, UpstreamError):
                after = f" ({tries} attempts to connect again failed)" if tries else ""
                self._put(ConnectionLost(type(failure)(f"{failure.message}{after}", hint=failure.hint)))
                return
            tries += 1
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _start_session(self, socket: "ClientConnection", before: _Line | None) -> _Line:
        """Start or resume the session of the server; from then on accept events to send.

        Raises:
            OpenAgainError: See `Handshake.start`.
            UpstreamError: The server refuses the session or does not answer.
        """
        number = 0 if before is None else before.number + 1
        dialect = None if before is None or before.is_left else self._resume(socket, before.dialect)
        is_resumed = dialect is not None
        line = _Line(number, dialect or self._handshake.start(socket))
        if number == 0:
            self.dialect = line.dialect
        self._line = line
        if number:
            self._put(ConnectionRestored(number, line.dialect, is_resumed))
        self._opened.set()
        return line

    def _resume(self, socket: "ClientConnection", dialect: Dialect) -> Dialect | None:
        """Continue the session of an earlier connection; None if that is not possible.

        Raises:
            OpenAgainError: The server does not have the session any more. A new one needs another connection.
            UpstreamError: The server does not answer.
        """
        resume = dialect.resume_event()
        if resume is None or not isinstance(dialect, DuplexDialect):
            return None
        missed = self._handshake.resume(socket, dialect, resume)
        if missed is None:
            dialect.forget()
            raise OpenAgainError
        for event in missed:
            if dialect.receive(event)[0]:
                self._put(event)
        return dialect

    def _converse(self, socket: "ClientConnection", line: _Line) -> str:
        """Read and write until the connection ends; return the reason."""
        from websockets.exceptions import ConnectionClosed

        threading.Thread(target=_write, args=(socket, line), name="sca vllm-omni out", daemon=True).start()
        if self._closing.is_set():  # closed before this line existed
            self._line = None
            for goodbye in (*line.dialect.goodbye, None):
                line.outgoing.put(goodbye)
        try:
            while True:
                message = socket.recv()
                event = protocol.parse_event(message)
                is_new, replies = line.dialect.receive(event)
                for reply in replies:
                    line.outgoing.put(reply)
                if is_new and self._put(event, len(message)) > _MOST_QUEUED:
                    return f"it sends audio faster than it can be played: more than {_MOST_QUEUED >> 20} MB are unread"
                end = line.dialect.end_of_session(event)
                if end is not None:
                    return f"the server ended the session ({end})"
        except ConnectionClosed as error:
            return first_line(error)
        except protocol.ProtocolError as error:
            return f"it sent {error}"
        finally:
            line.outgoing.put(None)


def _write(socket: "ClientConnection", line: _Line) -> None:
    """Send events until one is None, and heartbeats if there are none for a while."""
    heartbeat = line.dialect.heartbeat
    with contextlib.suppress(Exception):  # the reading thread reports the reason
        while True:
            try:
                event = line.outgoing.get(timeout=None if heartbeat is None else _HEARTBEAT_S)
            except queue.Empty:
                event = heartbeat
            if event is None:
                break
            socket.send(json.dumps(event))
        socket.close()
