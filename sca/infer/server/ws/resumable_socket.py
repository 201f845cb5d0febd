"""The connection of a session: one WebSocket, or several in succession if the session may be resumed.

Both sides count the messages they receive. Sent messages are kept until the client acknowledges them; on a new socket,
the messages that the client lacks are sent again, and the client gets the number of its own messages that have arrived.
"""

from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

import anyio

from sca.infer.notifier import Notifier
from sca.infer.server.transport.receive_buffer import receive_buffer_of
from sca.infer.server.ws.send_queue import Message, SendQueue, message_bytes

__all__ = ["ClientDisconnectedError", "ClientSocket", "ResumableSocket", "ResumeGapError"]

_RESUMABLE_CODES = (1001, 1006)
"""Close codes after which a client may resume: it went away (a browser that reloads or leaves the page), or the connection
broke. With any other code it was closed deliberately."""
_ACKNOWLEDGE_S = 5.0  # for a connected client to acknowledge the last message


class ClientSocket(Protocol):
    """What a session needs of a socket: a WebSocket of starlette, or another way to exchange messages."""

    @property
    def scope(self) -> MutableMapping[str, Any]:
        """The ASGI scope of the request, with `headers` and `subprotocols`."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request, with names in lower case."""
        ...

    async def receive(self) -> MutableMapping[str, Any]:
        """Wait for the next ASGI event: `websocket.receive` or `websocket.disconnect`."""
        ...

    async def send_text(self, data: str) -> None:
        """Send a text message. Raises `RuntimeError` if the client has disconnected."""
        ...

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message. Raises `RuntimeError` if the client has disconnected."""
        ...

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the socket."""
        ...


class ClientDisconnectedError(Exception):
    """The client has disconnected and may not resume the session."""


class ResumeGapError(Exception):
    """The messages that the client lacks have been dropped, or it acknowledges messages that were not sent."""


class ResumableSocket:
    """A connection that survives its WebSocket.

    `send_all` and `receive` are each called by one task.

    Attributes:
        received: How many messages the client has sent, on all sockets.
        sent: How many messages were sent to the client, on all sockets.
        resume_timeout_s: How long the client may take to resume after the socket broke; 0 if it may not resume.
    """

    def __init__(self, websocket: ClientSocket, on_broken: Callable[[], object] = lambda: None) -> None:
        """Create a connection over a first socket.

        Args:
            websocket: The socket, accepted.
            on_broken: Called when the socket broke and the client may resume.
        """
        self._socket: ClientSocket | None = websocket
        self._on_broken = on_broken
        self.received = self.sent = 0
        self._kept: deque[Message] = deque()
        self._kept_bytes = self._max_kept_bytes = 0
        self.resume_timeout_s = 0.0
        self._ended = False
        self._greeting: Message | None = None
        self._on_first_message: Callable[[], object] | None = None
        self._reading: anyio.CancelScope | None = None
        self._writing: anyio.CancelScope | None = None
        self._changed = Notifier()

    @property
    def connected(self) -> bool:
        """Whether there is a socket now."""
        return self._socket is not None

    @property
    def unacknowledged_bytes(self) -> int:
        """The size of the messages that were sent and not acknowledged."""
        return self._kept_bytes

    def set_wanted_bytes(self, size: int) -> None:
        """Set how many bytes of audio `receive` needs next; fewer need not be returned.

        Applies to the current socket.
        """
        receive_buffer = None if self._socket is None else receive_buffer_of(self._socket.scope)
        if receive_buffer is not None:
            receive_buffer.wanted_bytes = size

    # Resuming

    def enable_resume(self, timeout_s: float, max_kept_bytes: int) -> None:
        """Allow the client to resume from now on.

        Args:
            timeout_s: How long it may take.
            max_kept_bytes: The limit of kept messages; beyond it the oldest are dropped.
        """
        self.resume_timeout_s, self._max_kept_bytes = timeout_s, max_kept_bytes

    def disable_resume(self) -> None:
        """Stop waiting for a client that is disconnected, or disconnects later."""
        self.resume_timeout_s = 0.0
        self._kept.clear()
        self._kept_bytes = 0
        if self._socket is None:
            self.end()
        self._changed.notify_all()

    def acknowledge(self, received: int) -> None:
        """Drop the kept messages that the client has received.

        Args:
            received: How many messages the client has received.

        Raises:
            ResumeGapError: Fewer messages were sent.
        """
        if received > self.sent:
            raise ResumeGapError
        while self._kept and self.sent - len(self._kept) < received:
            self._kept_bytes -= message_bytes(self._kept.popleft())
        self._changed.notify_all()

    def attach(
        self,
        websocket: ClientSocket,
        received: int,
        greeting: Callable[[int], Message],
        on_first_message: Callable[[], object],
    ) -> ClientSocket | None:
        """Continue on another socket.

        Args:
            websocket: The new socket, accepted.
            received: How many messages the client has received.
            greeting: Returns the first message on the socket, given how many of the client's messages have arrived. The
                greeting is not counted by either side.
            on_first_message: Called when the client sends something on the socket.

        Returns:
            The socket that was replaced, if there was one.

        Raises:
            ResumeGapError: The messages that the client lacks have been dropped. Nothing has changed.
            ClientDisconnectedError: The session has ended. Nothing has changed.
        """
        if self._ended or not self.resume_timeout_s:
            raise ClientDisconnectedError
        if received < self.sent - len(self._kept):
            raise ResumeGapError
        self.acknowledge(received)
        old = self._socket
        self._greeting, self._on_first_message = greeting(self.received), on_first_message
        self._replace(websocket)
        return old

    async def wait_detached(self, websocket: ClientSocket) -> None:
        """Wait until a socket is unused."""
        while self._socket is websocket and not self._ended:
            await self._changed.wait()

    # Sending and receiving

    async def send_all(self, queue: SendQueue) -> None:
        """Send the messages of `queue` until it is closed.

        Raises:
            ClientDisconnectedError: The client has disconnected.
        """
        while True:
            with anyio.move_on_after(self.resume_timeout_s if self._socket is None else None):
                await self._wait_for_socket()
            socket = self._socket
            if socket is None:
                self._ended = True
                self._changed.notify_all()
                raise ClientDisconnectedError
            with anyio.CancelScope() as self._writing:
                if await self._send_on(socket, queue):
                    return
            self._writing = None

    async def _send_on(self, socket: ClientSocket, queue: SendQueue) -> bool:
        """Send messages until the queue is closed (True) or the socket breaks (False)."""
        from starlette.websockets import WebSocketDisconnect

        try:
            for unreceived in [] if self._greeting is None else [self._greeting, *self._kept]:
                await _send(socket, unreceived)
            self._greeting = None
            while (message := await queue.take()) is not None:
                self._count_sent(message)
                await _send(socket, message)
        except (WebSocketDisconnect, RuntimeError):  # starlette raises either when the client has disconnected
            self._on_disconnect(socket)
            return False
        with anyio.move_on_after(_ACKNOWLEDGE_S):
            while self._kept and self._socket is socket:
                await self._changed.wait()
        return self._socket is socket

    def _count_sent(self, message: Message) -> None:
        self.sent += 1
        if self.resume_timeout_s:
            self._kept.append(message)
            self._kept_bytes += message_bytes(message)
            while self._kept_bytes > self._max_kept_bytes:
                self._kept_bytes -= message_bytes(self._kept.popleft())

    async def receive(self) -> Message:
        """Wait for the client's next message.

        Raises:
            ClientDisconnectedError: The client has disconnected.
        """
        while True:
            socket = await self._wait_for_socket()
            event = None
            if self.resume_timeout_s:
                with anyio.CancelScope() as self._reading:
                    event = await socket.receive()
                self._reading = None
            else:  # the socket is never replaced, and the task is cancelled when the session ends
                event = await socket.receive()
            if event is None or socket is not self._socket:
                continue  # the socket was replaced; the message was not counted, so the client sends it again
            if event["type"] == "websocket.disconnect":
                self._on_disconnect(socket, closed=event.get("code") not in _RESUMABLE_CODES)
                continue
            self.received += event.get("messages", 1)
            if self._on_first_message is not None:
                self._on_first_message()
                self._on_first_message = None
            data: bytes | None = event.get("bytes")
            text: str = event.get("text", "")
            return text if data is None else data

    async def close(self, code: int, reason: str) -> None:
        """End the connection, with a close message if the client is connected."""
        from starlette.websockets import WebSocketDisconnect

        socket = self._socket
        try:
            if socket is not None:
                await socket.close(code, reason)
        except (RuntimeError, WebSocketDisconnect):  # the client closed the socket at the same time
            pass
        finally:
            self.end()

    def end(self) -> None:
        """End the connection without a close message."""
        self._ended = True
        self._replace(None)

    # The current socket

    async def _wait_for_socket(self) -> ClientSocket:
        while self._socket is None:
            if self._ended:
                raise ClientDisconnectedError
            await self._changed.wait()
        return self._socket

    def _on_disconnect(self, socket: ClientSocket, *, closed: bool = False) -> None:
        if socket is not self._socket:
            return
        self._ended = self._ended or closed or not self.resume_timeout_s
        self._replace(None)
        if not self._ended:
            self._on_broken()

    def _replace(self, socket: ClientSocket | None) -> None:
        self._socket = socket
        for scope in (self._reading, self._writing):
            if scope is not None:
                scope.cancel()
        self._changed.notify_all()


async def _send(socket: ClientSocket, message: Message) -> None:
    if isinstance(message, bytes):
        await socket.send_bytes(message)
    else:
        await socket.send_text(message)
