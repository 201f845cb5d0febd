"""The time in which a client must read something of what it is sent."""

import asyncio

__all__ = ["WriteDeadline"]


class WriteDeadline:
    """Aborts a connection whose client reads nothing of what waits for it during a whole time limit.

    Args:
        transport: The connection.
        timeout_s: The time limit; None for none.
    """

    def __init__(self, transport: asyncio.Transport, timeout_s: float | None) -> None:
        self._transport, self._timeout_s = transport, timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def start(self) -> None:
        """Start the time, when the buffer of the transport is full."""
        self._unsent_bytes = self._transport.get_write_buffer_size()
        if self._timeout_s is not None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._on_timeout)

    def cancel(self) -> None:
        """Stop the time, when the client has read enough or the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._transport.get_write_buffer_size() < self._unsent_bytes:
            self.start()
        else:
            self._transport.abort()
