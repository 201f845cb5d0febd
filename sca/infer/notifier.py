"""Waiting until something has changed. Costs nothing while nobody waits, so it may be told of every chunk of every session."""

import anyio

__all__ = ["Notifier"]


class Notifier:
    """What was waited for may be so by now: who is woken looks, and waits again when it is not."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def wait(self) -> None:
        """Return after the next `notify_all`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    def notify_all(self) -> None:
        """Wake all who wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None
