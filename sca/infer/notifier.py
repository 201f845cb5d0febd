"""A broadcast condition for tasks on one event loop. `notify_all` is cheap if no task is waiting."""

import anyio

__all__ = ["Notifier"]


class Notifier:
    """Wakes the tasks that wait for a state change.

    A woken task must re-check the state and wait again if necessary.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def wait(self) -> None:
        """Return after the next `notify_all`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    def notify_all(self) -> None:
        """Wake all tasks that are waiting now."""
        if self._event is not None:
            self._event.set()
            self._event = None
