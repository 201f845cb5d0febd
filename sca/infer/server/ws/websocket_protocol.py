"""uvicorn's WebSocket protocol with a heartbeat that drops who is gone, and only them, and an inbox. Knows no session."""

import asyncio
from asyncio.transports import BaseTransport
from typing import Any

from sca.infer.server.ws.receive_buffer import EXTENSION, ReceiveBuffer

__all__ = ["websocket_protocol"]

_UNSENT_BYTES = 32_768  # held here, beyond what the kernel takes, before a sender waits
_UNREAD_BYTES = 32_768  # of a client's, that wait to be taken while more may come
_LINGER_S = 10.0  # until a connection whose close message nobody takes is cut


def websocket_protocol() -> type[Any]:
    """uvicorn's, and:

    - A ping counts as answered by anything that comes. While we do not read what came, its answer lies behind that; then it is
      enough that the client takes what it is sent.
    - A connection that is given up is cut. uvicorn would wait until all it wrote was taken, which a dead peer never does.
    - Messages come into an `ReceiveBuffer`, and reading goes on while a little waits there; uvicorn stops and goes on with every message,
      at the price of two system calls.
    - Code 1006 says that it broke, as opposed to 1005, closed without a code.
    """
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class Heartbeat(WebSocketsSansIOProtocol):
        _heard_s = _stuck_s = 0.0

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.queue = self._inbox = ReceiveBuffer()

        def handle_connect(self, event: Any) -> None:
            super().handle_connect(event)
            if not self.handshake_complete:  # its task is made, and has not begun
                extensions: dict[Any, Any] = self.scope["extensions"] or {}
                extensions[EXTENSION] = self._inbox

        def connection_made(self, transport: BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.set_write_buffer_limits(high=_UNSENT_BYTES)

        def pause_writing(self) -> None:
            self._stuck_s = self.loop.time()
            super().pause_writing()

        def data_received(self, data: bytes) -> None:
            self._heard_s = self.loop.time()
            super().data_received(data)

        def send_receive_event_to_app(self) -> None:
            paused, self.read_paused = self.read_paused, True  # so that reading is left as it is
            super().send_receive_event_to_app()
            self.read_paused = paused
            if not paused and self._inbox.unread_bytes > _UNREAD_BYTES:
                self.read_paused = True
                self.transport.pause_reading()

        def keepalive_timeout(self) -> None:
            takes = self.writable.is_set() or self._stuck_s > self.ping_sent_at
            if self._heard_s > self.ping_sent_at or (self.read_paused and takes):
                self.pong_timer = self.pending_ping_payload = None
                self.schedule_ping()
                return
            super().keepalive_timeout()
            self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.conn.close_rcvd is None:
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
            super().connection_lost(exc)

        def on_task_complete(self, task: "asyncio.Task[None]") -> None:
            super().on_task_complete(task)
            self.loop.call_later(_LINGER_S, self.transport.abort)

    return Heartbeat
