"""Limits on what a client may use: requests per minute, and the size and duration of a request body."""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator

from sca.infer.server.core.errors import RequestRejectedError

__all__ = ["MAX_PROMPT_CHARACTERS", "RateLimiter", "client_key", "read_body", "shortened"]

MAX_PROMPT_CHARACTERS = 32_768
"""The longest system prompt of a client, at every endpoint."""

_MAX_ECHO = 200

_MAX_CLIENTS = 10_000  # remembered addresses; beyond that the least recently seen one is forgotten
_MAX_DISCARDED_BYTES = 64 << 20  # of a body that is too large: read and discarded, so that the client reads the error


def shortened(text: str) -> str:
    """Return a text for a client with at most 200 characters. It may repeat what the client has sent."""
    return text if len(text) <= _MAX_ECHO else text[: _MAX_ECHO - 1] + "…"


class RateLimiter:
    """A token bucket for each client.

    A client may send `per_minute` requests at once and regains as many within a minute. Clients are distinguished by
    address; IPv6 addresses by their /64 network, which is what one customer usually gets.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # requests left, and the time of that count

    def acquire(self, address: str, now_s: float) -> float:
        """Count a request.

        Args:
            address: The client's IP address.
            now_s: The current time on a monotonic clock.

        Returns:
            0 if the request may be served, else the seconds until the next one may be.
        """
        client = client_key(address)
        left, updated_s = self._buckets.pop(client, (float(self.per_minute), now_s))
        left = min(self.per_minute, left + (now_s - updated_s) * self.per_minute / 60)
        allowed = left >= 1
        self._buckets[client] = (left - allowed, now_s)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / self.per_minute


def client_key(address: str) -> str:
    """Return what distinguishes a client: its IPv4 address, the /64 network of its IPv6 address, or the text as it is."""
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
    """Read a whole request body, with a declared length or chunked. Never holds more than `max_bytes` and one chunk.

    Args:
        chunks: The body as it arrives.
        content_length: The `Content-Length` header, if the request has one.
        max_bytes: The largest body that is accepted.
        timeout_s: The time in which the body must arrive.

    Returns:
        The body.

    Raises:
        RequestRejectedError: The body is larger than `max_bytes` (413) or took longer than `timeout_s` (408).
    """
    pieces: list[bytes] = []
    received = discarded = 0
    too_large = content_length is not None and content_length.isdecimal() and int(content_length[:20]) > max_bytes
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in chunks:
                received += len(piece)
                if not too_large and received <= max_bytes:
                    pieces.append(piece)
                    continue
                too_large = True
                pieces.clear()
                discarded += len(piece)
                if discarded > _MAX_DISCARDED_BYTES:
                    break
    except TimeoutError as error:
        raise RequestRejectedError(408, f"the body did not arrive within {timeout_s:g} s", close=True) from error
    if too_large:
        raise RequestRejectedError(413, f"the body is larger than {max_bytes} bytes", close=True)
    return b"".join(pieces)
