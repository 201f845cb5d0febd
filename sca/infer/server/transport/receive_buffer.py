"""The messages of a WebSocket that were received and not yet read.

Clients send audio in small messages. The buffer joins them until there is as much as the session needs next, so that
the session wakes up once per chunk and not once per message.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from starlette.types import Message

__all__ = ["EXTENSION", "ReceiveBuffer", "receive_buffer_of"]

EXTENSION = "sca.receive_buffer"
"""The key of the buffer among the extensions of a connection's ASGI scope."""

_OVERHEAD_BYTES = 128  # of an event, in addition to its content
_MAX_PIECES = 1024  # that are joined, however small they are


class ReceiveBuffer(asyncio.Queue[Any]):
    """The ASGI events of a connection, in order.

    Consecutive binary messages may arrive as one event, up to 1024; `messages` is their number. Any other event passes on the
    binary messages before it.

    Attributes:
        wanted_bytes: Binary messages are joined until they have this size. 0: each message is an event.
        unread_bytes: The size of the events that can be read now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wanted_bytes = self.unread_bytes = 0
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0

    @override
    def put_nowait(self, item: "Message") -> None:
        piece = item.get("bytes")
        if piece is None:
            self._put_joined()
            super().put_nowait(item)
            return
        self._pieces.append(piece)
        self._pieces_bytes += len(piece)
        if self._pieces_bytes >= self.wanted_bytes or len(self._pieces) >= _MAX_PIECES:
            self._put_joined()

    def _put_joined(self) -> None:
        if self._pieces:
            joined = b"".join(self._pieces)
            super().put_nowait({"type": "websocket.receive", "bytes": joined, "messages": len(self._pieces)})
            self._pieces, self._pieces_bytes = [], 0

    @override
    def _put(self, item: "Message") -> None:
        super()._put(item)
        self.unread_bytes += _size(item)

    @override
    def _get(self) -> "Message":
        item: Message = super()._get()
        self.unread_bytes -= _size(item)
        return item


def _size(event: "Message") -> int:
    return _OVERHEAD_BYTES + len(event.get("bytes") or event.get("text") or "")


def receive_buffer_of(scope: Mapping[str, object]) -> ReceiveBuffer | None:
    """Return the receive buffer of a connection; None under a server without one."""
    extensions = scope.get("extensions")
    found = extensions.get(EXTENSION) if isinstance(extensions, Mapping) else None
    return found if isinstance(found, ReceiveBuffer) else None
