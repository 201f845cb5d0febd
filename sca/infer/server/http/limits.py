"""Bounds on what a client may take: size and time of a body, time of a head, connections, requests a minute. A refusal names
its bound.
"""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

__all__ = ["RateLimiter", "RequestRejectedError", "http_protocol", "read_body", "refusal"]

_MOST_CLIENTS = 10_000  # whose rates are remembered; then the one that asked longest ago is forgotten
_BODY_SLACK_S = 1.0  # whoever reads a body has noticed before that it is late, and can say so
_DRAIN_BYTES = 64 << 20  # of a body that is too large: read and thrown away, so that the sender gets to read why


class RequestRejectedError(Exception):
    """A request that is not served. status: of HTTP.   what: in words.   close: whether the connection ends with it."""

    def __init__(self, status: int, what: str, *, close: bool = False, retry_after_s: int | None = None) -> None:
        super().__init__(what)
        self.status, self.what, self.close, self.retry_after_s = status, what, close, retry_after_s


def refusal(description: str) -> dict[str, Any]:
    """A refusal in OpenAPI's words."""
    error = {
        "type": "object",
        "required": ["status", "what"],
        "properties": {"status": {"type": "integer"}, "what": {"type": "string"}},
    }
    schema = {"type": "object", "required": ["error"], "properties": {"error": error}}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


class RateLimiter:
    """How often each client may ask: `per_minute` at once, and as many again in a minute. Clients are told apart by address, those
    of IPv6 by their network of 64 bits, which is what one customer has.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when that was so

    def wait_s(self, address: str, now_s: float) -> float:
        """Note a request. 0 when it may be served, else how long the client has to wait."""
        client = _network(address)
        left, then_s = self._left.pop(client, (float(self.per_minute), now_s))
        left = min(self.per_minute, left + (now_s - then_s) * self.per_minute / 60)
        may = left >= 1
        self._left[client] = (left - may, now_s)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if may else (1 - left) * 60 / self.per_minute


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address


async def read_body(
    chunks: AsyncIterator[bytes], content_length: str | None, max_bytes: int, timeout_s: float
) -> bytes:
    """A whole body, with a length or chunked. Raises `RequestRejectedError` 413 for one over `max_bytes`, 408 after `timeout_s`.

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
        raise RequestRejectedError(408, f"the body did not arrive within {timeout_s:g} s", close=True) from error
    if too_large:
        raise RequestRejectedError(413, f"the body is larger than {max_bytes} bytes", close=True)
    return b"".join(pieces)


def http_protocol(
    head_timeout_s: float,
    body_timeout_s: float,
    max_connections: int,
    too_many: Callable[[], bytes],
    on_refused: Callable[[], object],
) -> type[Any]:
    """uvicorn's HTTP protocol, and: a head or a body that does not arrive in time ends its connection, one connection too many is
    answered.

    uvicorn by itself waits for a first head for ever, and for a body that nobody reads (of a request that was refused, say).
    too_many: the whole response that a refused connection gets.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedProtocol(HttpToolsProtocol):
        _head_timer: "TimerHandle | None" = None
        _body_timer: "TimerHandle | None" = None

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
            if not self.parser.should_upgrade():
                self._body_timer = self.loop.call_later(body_timeout_s, self._body_late)

        def on_message_complete(self) -> None:
            self._body_arrived()
            super().on_message_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_arrived()
            self._body_arrived()
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

        def _body_arrived(self) -> None:
            if self._body_timer is not None:
                self._body_timer.cancel()
                self._body_timer = None

        def _body_late(self) -> None:
            # Not one timer for both: after the process was held up, whoever reads the body could not say any more that it is late.
            self._body_timer = self.loop.call_later(_BODY_SLACK_S, self.transport.close)

        def _head_late(self) -> None:
            self._head_timer = None
            self.transport.close()

    return BoundedProtocol
