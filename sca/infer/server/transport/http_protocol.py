"""uvicorn's HTTP protocol with a limit on connections and on the time for the head and the body of a request.

uvicorn alone waits for the first request head without a limit, and for a body that no code reads, such as that of a
rejected request.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["http_protocol"]

_BODY_SLACK_S = 1.0  # in which the code that reads the body notices that it is late and sends a response


def http_protocol(
    head_timeout_s: float,
    body_timeout_s: float,
    max_connections: int,
    rejection: Callable[[], bytes],
    on_rejected: Callable[[], object],
) -> "type[HttpToolsProtocol]":
    """Return uvicorn's protocol class with limits.

    Args:
        head_timeout_s: A connection ends if a request head takes longer.
        body_timeout_s: A connection ends if a request body takes longer, after the head.
        max_connections: The largest number of open connections.
        rejection: Makes the whole response to a connection above that number.
        on_rejected: Called for each of those.

    Returns:
        The protocol class.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class LimitedProtocol(HttpToolsProtocol):
        _head_timer: "TimerHandle | None" = None
        _body_timer: "TimerHandle | None" = None

        @override
        def connection_made(self, transport: "Transport") -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                on_rejected()
                transport.write(rejection())
                transport.close()
                return
            self._start_head_timer()

        def on_message_begin(self) -> None:
            self._start_head_timer()
            # Not every version of the base class has this callback.
            base = getattr(super(), "on_message_begin", None)
            if base is not None:
                base()

        @override
        def on_headers_complete(self) -> None:
            self._cancel_head_timer()
            super().on_headers_complete()
            if not self.parser.should_upgrade():
                self._body_timer = self.loop.call_later(body_timeout_s, self._on_body_timeout)

        @override
        def on_message_complete(self) -> None:
            self._cancel_body_timer()
            super().on_message_complete()

        @override
        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel_head_timer()
            self._cancel_body_timer()
            super().connection_lost(exc)

        @override
        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():  # a rejected client may still be sending
                super().data_received(data)

        def _start_head_timer(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout_s, self._on_head_timeout)

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
            self.transport.close()

    return LimitedProtocol
