"""Listeners of a session: each has a queue of its own, and a slow one loses its oldest events, not those of others."""

import threading
from collections import deque
from collections.abc import Iterator

from sca.watch.events import Event

__all__ = ["Broadcast", "Listener"]

_MOST_EVENTS = 1024
"""About a minute of speech in pieces of 100 ms, and its text."""


class Listener:
    """Receives the events of a session. One thread reads, in a loop or by `take`.

    Attributes:
        dropped: How many events were lost because they were not read in time.
    """

    def __init__(self, most: int = _MOST_EVENTS) -> None:
        self._events: deque[Event] = deque()
        self._most = most
        self._changed = threading.Condition()
        self._is_closed = False
        self.dropped = 0

    @property
    def is_closed(self) -> bool:
        """Whether no event will be added. Some may wait to be read."""
        return self._is_closed

    def put(self, event: Event) -> None:
        """Add an event; never waits."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._events) >= self._most:
                self._events.popleft()
                self.dropped += 1
            self._events.append(event)
            self._changed.notify()

    def take(self, wait_s: float | None = None) -> Event | None:
        """Return the next event; None if none arrives in time, or ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._is_closed, wait_s)
            return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Add no more events. Those that wait can be read."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Event]:
        """Yield the events until the session has ended."""
        while (event := self.take()) is not None:
            yield event


class Broadcast:
    """Hands events on to any number of listeners."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._is_closed = False

    def add(self, most: int = _MOST_EVENTS) -> Listener:
        """Return a new listener of the events from now on.

        Args:
            most: The most events that wait to be read.
        """
        listener = Listener(most)
        with self._lock:
            if self._is_closed:
                listener.close()
            self._listeners.append(listener)
        return listener

    def remove(self, listener: Listener) -> None:
        """End a listener."""
        with self._lock:
            self._listeners = [one for one in self._listeners if one is not listener]
        listener.close()

    def put(self, event: Event) -> None:
        """Hand an event on."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.put(event)

    def close(self) -> None:
        """End all listeners, after the events that wait."""
        with self._lock:
            self._is_closed = True
            listeners = list(self._listeners)
        for listener in listeners:
            listener.close()
