"""The data channel of a call as the socket of a session: it has the events of the protocol, in both directions."""

import json
from collections import deque
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from sca.infer.notifier import Notifier
from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.ws.resumable_socket import ClientSocket

if TYPE_CHECKING:
    from aiortc import RTCDataChannel

__all__ = ["CallSocket"]

_MAX_UNSENT_BYTES = 262_144
_MAX_UNREAD_BYTES = 4 << 20
_OVERHEAD_BYTES = 256  # of an event, in addition to its content
_TOO_MANY = 1008


class CallSocket(ClientSocket):
    """The socket of a call. Messages wait until the client opens its data channel.

    Args:
        scope: The ASGI scope of the request that began the call.
        beta: Whether the client speaks the beta of the protocol.
    """

    def __init__(self, scope: Mapping[str, Any], *, beta: bool = False) -> None:
        subprotocols = ["openai-beta.realtime-v1"] if beta else []
        self._scope = {"type": "websocket", "headers": scope["headers"], "subprotocols": subprotocols}
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._channel: RTCDataChannel | None = None
        self._received: deque[MutableMapping[str, Any]] = deque()
        self._unread_bytes = 0
        self._discards = self._closed = False
        self._changed = Notifier()

    @property
    @override
    def scope(self) -> MutableMapping[str, Any]:
        return self._scope

    @property
    @override
    def headers(self) -> Mapping[str, str]:
        return self._headers

    def discard_messages(self) -> None:
        """Discard all messages to the client, because it has no data channel."""
        self._discards = True

    def attach(self, channel: "RTCDataChannel") -> None:
        """Use a data channel, unless there is one."""
        if self._channel is not None:
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = _MAX_UNSENT_BYTES // 2
        channel.on("message", self._on_message)
        channel.on("close", self.disconnect)
        channel.on("bufferedamountlow", self._changed.notify_all)
        self._changed.notify_all()

    def disconnect(self, code: int = 1000) -> None:
        """Note that the client has disconnected."""
        self._closed = True
        self._received.append({"type": "websocket.disconnect", "code": code})
        self._changed.notify_all()

    def _on_message(self, message: str | bytes) -> None:
        self._unread_bytes += _OVERHEAD_BYTES + len(message)
        if self._unread_bytes > _MAX_UNREAD_BYTES:
            self.disconnect(_TOO_MANY)
        if not self._closed:
            key = "bytes" if isinstance(message, bytes) else "text"
            self._received.append({"type": "websocket.receive", key: message})
            self._changed.notify_all()

    @override
    async def receive(self) -> MutableMapping[str, Any]:
        while not self._received:
            await self._changed.wait()
        event = self._received.popleft()
        self._unread_bytes -= _OVERHEAD_BYTES + len(event.get("text") or event.get("bytes") or "")
        return event

    @override
    async def send_text(self, data: str) -> None:
        while not self._closed and not self._discards:
            channel = self._channel
            if channel is not None and channel.bufferedAmount <= _MAX_UNSENT_BYTES:
                self._send(channel, data)
                return
            await self._changed.wait()
        if self._closed:
            raise RuntimeError("the data channel is closed")

    def _send(self, channel: "RTCDataChannel", data: str) -> None:
        if channel.readyState != "open":
            raise RuntimeError("the data channel is closed")
        try:
            channel.send(data)
        except ValueError:  # longer than the client accepts
            message = f"an event of {len(data)} characters was not sent, because it is larger than the client accepts"
            channel.send(json.dumps(RealtimeError(message, "event_too_large", kind="server_error").event()))

    @override
    async def send_bytes(self, data: bytes) -> None:
        raise TypeError("all messages of the protocol are text")

    @override
    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Wait until the client has all messages."""
        channel = self._channel
        if channel is not None:
            channel.bufferedAmountLowThreshold = 0
        while channel is not None and not self._closed and channel.bufferedAmount > 0:
            await self._changed.wait()
        self._closed = True
