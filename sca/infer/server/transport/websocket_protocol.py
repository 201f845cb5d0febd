"""uvicorn's WebSocket protocol with keep-alive pings that disconnect only unresponsive peers, and a receive buffer."""

import asyncio
from asyncio.transports import BaseTransport
from typing import TYPE_CHECKING, cast

from typing_extensions import override

from sca.infer.server.transport.receive_buffer import EXTENSION, ReceiveBuffer
from sca.infer.server.transport.write_deadline import WriteDeadline

if TYPE_CHECKING:
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    from websockets.frames import Frame
    from websockets.http11 import Request

__all__ = ["websocket_protocol"]

_MAX_UNSENT_BYTES = 32_768  # in this process, in addition to the kernel's buffer, before a sender waits
_MAX_UNREAD_BYTES = 32_768  # in the receive buffer, before reading from the socket stops
_SLICE_BYTES = 4096  # parsed before the limits are checked: 256 KiB of pings would stop the event loop for a second
_MAX_CONTROL_FRAMES = 100  # pings and pongs of a client in a second
_LINGER_S = 10.0  # until a connection is cut if the peer does not read the close message


def websocket_protocol() -> "type[WebSocketsSansIOProtocol]":
    """Return uvicorn's protocol class with these differences.

    - Anything that is received counts as the answer to a ping. While reading is paused, an answer cannot be received;
      then it is sufficient that the client reads what it is sent.
    - A connection is aborted if a ping is not answered. uvicorn would wait until all written data is read.
    - Received messages go into a `ReceiveBuffer`, and reading continues while little is unread. uvicorn pauses and
      resumes reading for every message, which costs two system calls.
    - A connection is aborted if the client reads nothing of what it is sent for as long as a ping may take, or sends more
      than 100 pings and pongs in a second. Its pings are not answered while it does not read.
    - Code 1006 means that the connection broke; 1005 that it was closed without a code.
    """
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class KeepAliveProtocol(WebSocketsSansIOProtocol):
        _received_s = _write_paused_s = _second_s = 0.0
        _control_frames = 0

        @override
        def connection_made(self, transport: BaseTransport) -> None:
            self.queue = self._receive_buffer = ReceiveBuffer()
            super().connection_made(transport)
            self.transport.set_write_buffer_limits(high=_MAX_UNSENT_BYTES)
            self._write_deadline = WriteDeadline(self.transport, self.ping_timeout)

        @override
        def handle_connect(self, event: "Request") -> None:
            super().handle_connect(event)
            if not self.handshake_complete:  # not rejected: the application's task exists and has not started yet
                extensions = cast("dict[str, object]", self.scope["extensions"] or {})
                extensions[EXTENSION] = self._receive_buffer

        @override
        def pause_writing(self) -> None:
            self._write_paused_s = self.loop.time()
            self._write_deadline.start()
            super().pause_writing()

        @override
        def resume_writing(self) -> None:
            self._write_deadline.cancel()
            super().resume_writing()

        @override
        def handle_ping(self) -> None:
            self._count_control_frame()
            if self.writable.is_set():
                super().handle_ping()
            else:
                self.conn.data_to_send()  # the pong is discarded

        @override
        def handle_pong(self, event: "Frame") -> None:
            self._count_control_frame()
            super().handle_pong(event)

        def _count_control_frame(self) -> None:
            if self._received_s - self._second_s > 1:
                self._second_s, self._control_frames = self._received_s, 0
            self._control_frames += 1
            if self._control_frames > _MAX_CONTROL_FRAMES and not self.transport.is_closing():
                self.transport.abort()

        @override
        def data_received(self, data: bytes) -> None:
            self._received_s = self.loop.time()
            for start in range(0, len(data), _SLICE_BYTES):
                if self.transport.is_closing():
                    return
                super().data_received(data[start : start + _SLICE_BYTES])

        @override
        def send_receive_event_to_app(self) -> None:
            # The base class pauses reading after every message unless it is paused; so pretend that it is.
            paused, self.read_paused = self.read_paused, True
            super().send_receive_event_to_app()
            self.read_paused = paused
            if not paused and self._receive_buffer.unread_bytes > _MAX_UNREAD_BYTES:
                self.read_paused = True
                self.transport.pause_reading()

        @override
        def keepalive_timeout(self) -> None:
            peer_reads = self.writable.is_set() or self._write_paused_s > self.ping_sent_at
            if self._received_s > self.ping_sent_at or (self.read_paused and peer_reads):
                self.pong_timer = self.pending_ping_payload = None
                self.schedule_ping()
                return
            super().keepalive_timeout()
            self.transport.abort()

        @override
        def connection_lost(self, exc: Exception | None) -> None:
            self._write_deadline.cancel()
            if self.conn.close_rcvd is None:
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
            super().connection_lost(exc)

        @override
        def on_task_complete(self, task: "asyncio.Task[None]") -> None:
            super().on_task_complete(task)
            self.loop.call_later(_LINGER_S, self.transport.abort)

    return KeepAliveProtocol
