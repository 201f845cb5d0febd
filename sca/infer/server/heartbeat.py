"""uvicorn's WebSocket protocol with a heartbeat that drops who is gone, and only them. Knows no session."""

import asyncio
from asyncio.transports import BaseTransport
from typing import Any

__all__ = ["websocket_protocol"]

_UNSENT_BYTES = 32_768  # held here, beyond what the kernel takes, before a sender waits
_SMALL_BYTES, _UNREAD_MESSAGES = 4096, 8  # of a client's, that wait to be read while more may come
_LINGER_S = 10.0  # until a connection whose close message nobody takes is cut


def websocket_protocol() -> type[Any]:
    """uvicorn's, and:

    - A ping counts as answered by anything that comes. While we do not read what came, its answer lies behind that; then it is
      enough that the client takes what it is sent.
    - A connection that is given up is cut. uvicorn would wait until all it wrote was taken, which a dead peer never does.
    - Reading goes on while a few small messages wait; uvicorn stops and goes on with every one, at the price of two system calls.
    - Code 1006 says that it broke, as opposed to 1005, closed without a code.
    """
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class Heartbeat(WebSocketsSansIOProtocol):
        _heard_s = _stuck_s = 0.0

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
            size = sum(map(len, self.frames))
            if self.read_paused or size > _SMALL_BYTES or self.queue.qsize() >= _UNREAD_MESSAGES:
                super().send_receive_event_to_app()
                return
            self.read_paused = True  # so it is left as it is
            super().send_receive_event_to_app()
            self.read_paused = False

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
