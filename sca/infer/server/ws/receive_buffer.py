"""What a client sent and nobody took yet. Sound comes in pieces that mean nothing by themselves: they are put together until there
is as much as is waited for, so that a session is woken once a chunk and not for every piece. Knows no session and no grid.
"""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ["EXTENSION", "ReceiveBuffer", "inbox_of"]

EXTENSION = "sca.inbox"
"""Under this name a connection's ASGI scope has its inbox, among the extensions."""

_OVERHEAD_BYTES = 128  # of a message, beside what it says

_Event = MutableMapping[str, Any]


class ReceiveBuffer(asyncio.Queue[Any]):
    """The events of a connection, in order. Binary messages may come together in one event; `messages` says how many they were.

    wanted: bytes of binary messages that are waited for; 0: each is passed on as it comes. Whatever else happens passes on what
    there is.   unread_bytes: of what can be taken now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wanted = self.unread_bytes = 0
        self._pieces: list[bytes] = []
        self._size = 0

    def put_nowait(self, item: _Event) -> None:
        """See `asyncio.Queue`."""
        piece = item.get("bytes")
        if piece is None:
            self._pass_on()
            super().put_nowait(item)
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= self.wanted:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._pieces:
            whole = b"".join(self._pieces)
            super().put_nowait({"type": "websocket.receive", "bytes": whole, "messages": len(self._pieces)})
            self._pieces, self._size = [], 0

    def _put(self, item: _Event) -> None:
        super()._put(item)
        self.unread_bytes += _size(item)

    def _get(self) -> _Event:
        item: _Event = super()._get()
        self.unread_bytes -= _size(item)
        return item


def _size(event: _Event) -> int:
    return _OVERHEAD_BYTES + len(event.get("bytes") or event.get("text") or "")


def inbox_of(scope: Mapping[str, Any]) -> ReceiveBuffer | None:
    """The inbox of an ASGI connection; None under a server that has none."""
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    found = extensions.get(EXTENSION)
    return found if isinstance(found, ReceiveBuffer) else None
