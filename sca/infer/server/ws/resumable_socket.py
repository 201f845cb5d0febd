"""The socket of a session; one after another, where a session may be resumed. Knows no protocol.

Both sides count the messages they get. What was sent is kept until the client says that it has it; on a new socket all that it has
not is sent again, and it is told how much of its own has arrived.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from sca.infer.notifier import Notifier
from sca.infer.server.ws.receive_buffer import inbox_of
from sca.infer.server.ws.send_queue import Message, SendQueue

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

__all__ = ["ClientDisconnectedError", "ResumableSocket", "ResumeGapError"]

_BROKEN = 1006  # anything else is a connection that was closed, by someone who meant it
_OVERHEAD_BYTES = 64  # of a kept message, beside what it says
_LAST_WORD_S = 5.0  # until a client that is there has acknowledged the last message


class ClientDisconnectedError(Exception):
    """The client is gone, and nobody waits for it any more."""


class ResumeGapError(Exception):
    """What the client has not got is not kept any more, or it counts what was never sent."""


class ResumableSocket:
    """Begins with a socket.   received, sent: messages so far, on all sockets.   attached: whether there is a socket now.

    broke: called when a socket broke and the client may come back.   patience_s: how long it may take to, 0 when it may not.
    """

    def __init__(self, websocket: "WebSocket", broke: Callable[[], object] = lambda: None) -> None:
        self._socket: WebSocket | None = websocket
        self._told = broke
        self.received = self.sent = 0
        self._kept: deque[Message] = deque()
        self._kept_bytes = self._most_bytes = 0
        self.patience_s = 0.0
        self._over = False
        self._hello: Message | None = None
        self._arrived: Callable[[], object] | None = None
        self._reading: anyio.CancelScope | None = None
        self._writing: anyio.CancelScope | None = None
        self._changed = Notifier()

    @property
    def attached(self) -> bool:
        """See the class."""
        return self._socket is not None

    @property
    def kept_bytes(self) -> int:
        """What was sent and not acknowledged."""
        return self._kept_bytes

    def want(self, size: int) -> None:
        """So many bytes of sound are waited for: fewer need not be received yet. It holds until a socket is replaced."""
        inbox = None if self._socket is None else inbox_of(self._socket.scope)
        if inbox is not None:
            inbox.wanted = size

    # Resuming

    def keep(self, patience_s: float, most_bytes: int) -> None:
        """From now on the client may come back within `patience_s`. At most `most_bytes` are kept for it; then the oldest go."""
        self.patience_s, self._most_bytes = patience_s, most_bytes

    def keep_no_more(self) -> None:
        """Do not wait for a client that is not there, or for one that goes."""
        self.patience_s = 0.0
        self._kept.clear()
        self._kept_bytes = 0
        if self._socket is None:
            self.end()
        self._changed.notify_all()

    def acknowledge(self, received: int) -> None:
        """The client has so many messages. Raises `ResumeGapError` for more than were sent."""
        if received > self.sent:
            raise ResumeGapError
        while self._kept and self.sent - len(self._kept) < received:
            self._kept_bytes -= _size(self._kept.popleft())
        self._changed.notify_all()

    def attach(
        self, websocket: "WebSocket", received: int, hello: Callable[[int], Message], arrived: Callable[[], object]
    ) -> "WebSocket | None":
        """Go on with another socket, on which the client has `received` messages; returns the socket it replaces, if there is one.

        hello: makes the first message, from how many of the client's have arrived; it counts on neither side.
        arrived: called when the client answers.
        Raises `ResumeGapError`, and `ClientDisconnectedError` when it is over; then nothing has changed.
        """
        if self._over or not self.patience_s:
            raise ClientDisconnectedError
        if received < self.sent - len(self._kept):
            raise ResumeGapError
        self.acknowledge(received)
        old = self._socket
        self._hello, self._arrived = hello(self.received), arrived
        self._replace(websocket)
        return old

    async def released(self, websocket: "WebSocket") -> None:
        """Return when a socket is not used any more."""
        while self._socket is websocket and not self._over:
            await self._changed.wait()

    # Sending and receiving, each by one task

    async def send_all(self, outbox: SendQueue) -> None:
        """Send what is put into `outbox` until it is closed. Raises `ClientDisconnectedError`."""
        while True:
            with anyio.move_on_after(self.patience_s if self._socket is None else None):
                await self._wait_for_socket()
            socket = self._socket
            if socket is None:
                self._over = True
                self._changed.notify_all()
                raise ClientDisconnectedError
            with anyio.CancelScope() as self._writing:
                if await self._send_over(socket, outbox):
                    return
            self._writing = None

    async def _send_over(self, socket: "WebSocket", outbox: SendQueue) -> bool:
        """Whether it is all sent; else the socket broke."""
        from starlette.websockets import WebSocketDisconnect

        try:
            again = [] if self._hello is None else [self._hello, *self._kept]
            for message in again:
                await _send(socket, message)
            self._hello = None
            while (fresh := await outbox.take()) is not None:
                self._number(fresh)
                await _send(socket, fresh)
        except (WebSocketDisconnect, RuntimeError):  # gone, in the framework's words
            self._broke(socket)
            return False
        with anyio.move_on_after(_LAST_WORD_S):
            while self._kept and self._socket is socket:
                await self._changed.wait()
        return self._socket is socket

    def _number(self, message: Message) -> None:
        self.sent += 1
        if self.patience_s:
            self._kept.append(message)
            self._kept_bytes += _size(message)
            while self._kept_bytes > self._most_bytes:
                self._kept_bytes -= _size(self._kept.popleft())

    async def receive(self) -> Message:
        """The client's next message. Raises `ClientDisconnectedError`."""
        while True:
            socket = await self._wait_for_socket()
            event = None
            if self.patience_s:
                with anyio.CancelScope() as self._reading:
                    event = await socket.receive()
                self._reading = None
            else:  # nothing replaces the socket, and who ends the link cancels its tasks
                event = await socket.receive()
            if event is None or socket is not self._socket:
                continue  # replaced; what had come is not counted, so it comes again
            if event["type"] == "websocket.disconnect":
                self._broke(socket, closed=event.get("code") != _BROKEN)
                continue
            self.received += event.get("messages", 1)
            if self._arrived is not None:
                self._arrived()
                self._arrived = None
            data: bytes | None = event.get("bytes")
            text: str = event.get("text", "")
            return text if data is None else data

    async def close(self, code: int, reason: str) -> None:
        """End it, with a close message if there is someone to read it."""
        from starlette.websockets import WebSocketDisconnect

        socket = self._socket
        try:
            if socket is not None:
                await socket.close(code, reason)
        except (RuntimeError, WebSocketDisconnect):  # the client closed at the same time
            pass
        finally:
            self.end()

    def end(self) -> None:
        """Let go of the socket."""
        self._over = True
        self._replace(None)

    # Which socket

    async def _wait_for_socket(self) -> "WebSocket":
        while self._socket is None:
            if self._over:
                raise ClientDisconnectedError
            await self._changed.wait()
        return self._socket

    def _broke(self, socket: "WebSocket", *, closed: bool = False) -> None:
        if socket is not self._socket:
            return
        self._over = self._over or closed or not self.patience_s
        self._replace(None)
        if not self._over:
            self._told()

    def _replace(self, socket: "WebSocket | None") -> None:
        self._socket = socket
        for scope in (self._reading, self._writing):
            if scope is not None:
                scope.cancel()
        self._changed.notify_all()


async def _send(socket: "WebSocket", message: Message) -> None:
    if isinstance(message, bytes):
        await socket.send_bytes(message)
    else:
        await socket.send_text(message)


def _size(message: Message) -> int:
    # Text is mostly ASCII, and what is not takes as much in memory.
    return _OVERHEAD_BYTES + len(message)
