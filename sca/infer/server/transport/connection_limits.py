"""What a client may use before the application sees its request, and the responses to those who use more."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from sca.infer.server.core.errors import error_document

__all__ = [
    "MAX_HEAD_BYTES",
    "SPARE_S",
    "ConnectionLimits",
    "Places",
    "Rejectable",
    "head_too_large",
    "too_many_connections",
]

MAX_HEAD_BYTES = 65_536
"""The largest head of a request: its first line and its headers."""

SPARE_S = 2.0
"""The time in which a spare connection must send its request."""

_MAX_SPARE = 32
_GIVES_WAY_S = 1.0
_REASONS = {431: "Request Header Fields Too Large", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on connections.

    Attributes:
        head_timeout_s: The time in which the head of a request must arrive.
        body_timeout_s: The time in which the body must arrive after the head.
        max_connections: The largest number of open connections.
        on_rejected: Called with the status of each rejection, before the application has seen the request.
        proxies: Addresses of trusted proxies, separated by commas; their X-Forwarded-For header is used.
        write_timeout_s: The time in which a client must read something of what it is sent.
    """

    head_timeout_s: float
    body_timeout_s: float
    max_connections: int
    on_rejected: Callable[[int], object]
    proxies: str = ""
    write_timeout_s: float = 30.0


class Rejectable(ABC):
    """A connection that can be rejected."""

    @abstractmethod
    def reject(self, status: int, response: bytes) -> None:
        """Respond before the application has seen the request, and close the connection.

        Args:
            status: The status of the response.
            response: The whole response.
        """


class Places:
    """Which connections have one of the places of a server.

    A connection above the limit takes the place of one that has sent no request for a second. If there is none, it is spare:
    it may ask whether the server is alive. Of more than 32 spare connections the oldest must go.

    Args:
        most: The number of places.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._silent: dict[Rejectable, float] = {}  # those without a request, and when they began; the oldest first
        self._spare: dict[Rejectable, None] = {}

    def add(self, connection: Rejectable, count: int, now_s: float) -> Rejectable | None:
        """Add a new connection.

        Args:
            connection: The connection.
            count: How many connections are open, with this one.
            now_s: The current time.

        Returns:
            The connection that must be closed for it; None without one.
        """
        removed = None
        if self.are_full(count - 1):
            removed = next(iter(self._silent), None)
            if removed is None or now_s - self._silent[removed] < _GIVES_WAY_S:
                self._spare[connection] = None
                return next(iter(self._spare)) if len(self._spare) > _MAX_SPARE else None
        self._silent[connection] = now_s
        return removed

    def are_full(self, count: int) -> bool:
        """Return whether so many open connections, the spare ones among them, take all places."""
        return count - len(self._spare) >= self._most

    def is_spare(self, connection: Rejectable) -> bool:
        """Return whether a connection has no place."""
        return connection in self._spare

    def remove(self, connection: Rejectable) -> None:
        """Remove a connection that was closed, or has sent its request and thus stays."""
        self._silent.pop(connection, None)
        self._spare.pop(connection, None)


def head_too_large() -> bytes:
    """Return the whole response to a request whose head is too large."""
    return _response(431, f"the head of the request is larger than {MAX_HEAD_BYTES} bytes")


def too_many_connections(most: int) -> bytes:
    """Return the whole response to a request on a connection above the limit."""
    return _response(503, f"{most} connections are open, and that is the limit", "Retry-After: 1\r\n")


def _response(status: int, message: str, headers: str = "") -> bytes:
    body = json.dumps(error_document(status, message)).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n{headers}Connection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
