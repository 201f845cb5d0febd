"""Bounds on what a client may take: size and time of a body, time of a head, connections. A refusal names its bound."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

__all__ = ["RefusedError", "http_protocol", "read_body"]

_DRAIN_BYTES = 64 << 20  # of a body that is too large: read and thrown away, so that the sender gets to read why


class RefusedError(Exception):
    """A request that is not served. status: of HTTP.   what: in words.   close: whether the connection ends with it."""

    def __init__(self, status: int, what: str, *, close: bool = False, retry_after_s: int | None = None) -> None:
        super().__init__(what)
        self.status, self.what, self.close, self.retry_after_s = status, what, close, retry_after_s


async def read_body(
    chunks: AsyncIterator[bytes], content_length: str | None, max_bytes: int, timeout_s: float
) -> bytes:
    """A whole body, with a length or chunked. Raises `RefusedError` 413 for one over `max_bytes`, 408 after `timeout_s`.

    Never holds more than `max_bytes` and one chunk.
    """
    pieces: list[bytes] = []
    held = thrown_away = 0
    too_large = content_length is not None and content_length.isdecimal() and int(content_length[:20]) > max_bytes
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in chunks:
                held += len(piece)
                if not too_large and held <= max_bytes:
                    pieces.append(piece)
                    continue
                too_large = True
                pieces.clear()
                thrown_away += len(piece)
                if thrown_away > _DRAIN_BYTES:
                    break
    except TimeoutError as error:
        raise RefusedError(408, f"the body did not arrive within {timeout_s:g} s", close=True) from error
    if too_large:
        raise RefusedError(413, f"the body is larger than {max_bytes} bytes", close=True)
    return b"".join(pieces)


def http_protocol(
    head_timeout_s: float, max_connections: int, too_many: Callable[[], bytes], on_refused: Callable[[], object]
) -> type[Any]:
    """uvicorn's HTTP protocol, and: a head that does not arrive in time ends its connection, one connection too many is answered.

    uvicorn by itself waits for a first head for ever. too_many: the whole response that a refused connection gets.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedProtocol(HttpToolsProtocol):
        _head_timer: "TimerHandle | None" = None

        def connection_made(self, transport: "Transport") -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                on_refused()
                transport.write(too_many())
                transport.close()
                return
            self._expect_head()

        def on_message_begin(self) -> None:
            self._expect_head()
            begin = getattr(super(), "on_message_begin", None)
            if begin is not None:
                begin()

        def on_headers_complete(self) -> None:
            self._head_arrived()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_arrived()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():  # what a refused connection still sends
                super().data_received(data)

        def _expect_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout_s, self._head_late)

        def _head_arrived(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _head_late(self) -> None:
            self._head_timer = None
            self.transport.close()

    return BoundedProtocol
