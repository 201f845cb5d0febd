"""uvicorn's HTTP protocol with limits on connections, on the head of a request, and on the time of head, body and response.

uvicorn alone reads a request head of any size and without a time limit, and waits without a limit for a body that no code
reads, such as that of a rejected request, and for a client that does not read the response.
"""

from typing import TYPE_CHECKING

from typing_extensions import override

from sca.infer.server.core.probes import PROBE_PATHS
from sca.infer.server.transport.connection_limits import (
    MAX_HEAD_BYTES,
    SPARE_S,
    ConnectionLimits,
    Places,
    Rejectable,
    head_too_large,
    too_many_connections,
)
from sca.infer.server.transport.write_deadline import WriteDeadline

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["http_protocol"]

_BODY_SLACK_S = 1.0  # in which the code that reads the body notices that it is late and sends a response
_LINGER_S = 1.0  # in which the rest of a rejected request is discarded, so that its client can read the response


def http_protocol(limits: ConnectionLimits) -> "type[HttpToolsProtocol]":
    """Return uvicorn's protocol class with limits.

    On a spare connection (see `Places`), `/health` and `/ready` are answered, and anything else is rejected.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    places = Places(limits.max_connections)

    class LimitedProtocol(HttpToolsProtocol, Rejectable):
        _head_timer: "TimerHandle | None" = None
        _body_timer: "TimerHandle | None" = None
        _head_bytes = 0
        _is_in_head = True
        _is_rejected = _is_upgraded = False

        @override
        def connection_made(self, transport: "Transport") -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._write_deadline = WriteDeadline(transport, limits.write_timeout_s)
            removed = places.add(self, len(self.connections), self.loop.time())
            if removed is not None:
                removed.reject(503, too_many_connections(limits.max_connections))
            is_spare = places.is_spare(self)
            self._start_head_timer(min(limits.head_timeout_s, SPARE_S) if is_spare else limits.head_timeout_s)

        @override
        def reject(self, status: int, response: bytes) -> None:
            self._forget()
            self._is_rejected = True
            limits.on_rejected(status)
            self.transport.write(response)
            self.transport.close()

        def _reject_head(self) -> None:
            """Reject a request whose client may still be sending, and does not read a response after a reset."""
            self._forget()
            self._is_rejected = True
            limits.on_rejected(431)
            if self.cycle is not None and not self.cycle.response_complete:
                self.transport.abort()
                return
            self.transport.write(head_too_large())
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.abort)

        def _forget(self) -> None:
            self._cancel_head_timer()
            places.remove(self)

        def on_message_begin(self) -> None:
            self._start_head_timer(limits.head_timeout_s)
            self._is_in_head = True
            # Not every version of the base class has this callback.
            base = getattr(super(), "on_message_begin", None)
            if base is not None:
                base()

        @override
        def on_headers_complete(self) -> None:
            self._is_in_head, self._head_bytes = False, 0
            is_full = places.is_spare(self) and places.are_full(len(self.connections))
            self._forget()
            if is_full and self.url.partition(b"?")[0].decode("latin-1") not in PROBE_PATHS:
                self.reject(503, too_many_connections(limits.max_connections))
                return
            super().on_headers_complete()
            if not self.parser.should_upgrade():
                self._body_timer = self.loop.call_later(limits.body_timeout_s, self._on_body_timeout)
            if is_full and self.cycle is not None:
                self.cycle.keep_alive = False

        @override
        def handle_websocket_upgrade(self) -> None:
            if not self._is_rejected:
                self._is_upgraded = True  # what came with the head is lost: a client must wait for the response
                super().handle_websocket_upgrade()

        @override
        def on_body(self, body: bytes) -> None:
            self._head_bytes = 0
            if not self._is_rejected:
                super().on_body(body)

        @override
        def on_message_complete(self) -> None:
            self._cancel_body_timer()
            self._is_in_head, self._head_bytes = True, 0
            if not self._is_rejected:
                super().on_message_complete()

        @override
        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            self._cancel_body_timer()
            self._write_deadline.cancel()
            super().connection_lost(exc)

        @override
        def data_received(self, data: bytes) -> None:
            # The parser joins the pieces of a header anew for each call: a large one would take quadratic time. What is no
            # body after the head, the headers at the end of a chunked body, counts too.
            while data and not (self._is_rejected or self._is_upgraded or self.transport.is_closing()):
                room = MAX_HEAD_BYTES - self._head_bytes
                piece, data = (data[:room], data[room:]) if self._is_in_head else (data, b"")
                self._head_bytes += len(piece)
                super().data_received(piece)
                if self._head_bytes >= MAX_HEAD_BYTES and not self.transport.is_closing():
                    self._reject_head()

        @override
        def pause_writing(self) -> None:
            self._write_deadline.start()
            super().pause_writing()

        @override
        def resume_writing(self) -> None:
            self._write_deadline.cancel()
            super().resume_writing()

        def _start_head_timer(self, timeout_s: float) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(timeout_s, self._on_head_timeout)

        def _cancel_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _cancel_body_timer(self) -> None:
            if self._body_timer is not None:
                self._body_timer.cancel()
                self._body_timer = None

        def _on_body_timeout(self) -> None:
            # Two timers instead of a longer one: if the event loop stalls, the reader of the body would otherwise be
            # cut off before it can answer 408.
            self._body_timer = self.loop.call_later(_BODY_SLACK_S, self.transport.close)

        def _on_head_timeout(self) -> None:
            self._head_timer = None
            if places.is_spare(self):
                self.reject(503, too_many_connections(limits.max_connections))
            else:
                self.transport.close()

    return LimitedProtocol
