"""The events of the server for any number of readers in an event loop: bounded, and read from where a reader left off."""

import asyncio
import json
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Entry", "Feed"]

_MOST_ENTRIES = 2048
_MOST_CHARS = 8_000_000
_MAX_ID_CHARS = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """An event.

    Attributes:
        number: Counts the events from 1.
        name: Its name.
        data: Its JSON document, without line breaks.
    """

    number: int
    name: str
    data: str = field(repr=False)


class Feed:
    """Any thread adds. Readers that are slower than the oldest event held miss events, and hold up nobody."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._chars = 0
        self._count = 0
        self._lock = threading.Lock()
        self._readers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._boot = secrets.token_hex(4)

    def put(self, name: str, document: Mapping[str, object]) -> None:
        """Add an event."""
        data = json.dumps(document)
        with self._lock:
            self._count += 1
            self._entries.append(Entry(self._count, name, data))
            self._chars += len(data)
            while len(self._entries) > _MOST_ENTRIES or (self._chars > _MOST_CHARS and len(self._entries) > 1):
                self._chars -= len(self._entries.popleft().data)
        self.wake()

    def wake(self) -> None:
        """Let all readers look."""
        with self._lock:
            for event, loop in self._readers.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._count

    def after(self, number: int) -> list[Entry]:
        """Return the events after one, the oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > number]

    def id_of(self, entry: Entry) -> str:
        """Return the identifier of an event, which no other server has."""
        return f"{self._boot}-{entry.number}"

    def number_of(self, identifier: str | None) -> int:
        """Return the number that an identifier means; that of the newest event for one of another server, or none."""
        boot, _, number = (identifier or "")[:_MAX_ID_CHARS].partition("-")
        known = boot == self._boot and number.isascii() and number.isdecimal()
        return min(int(number), self._count) if known else self._count

    @contextmanager
    def reader(self) -> Iterator[asyncio.Event]:
        """Yield an event of the running loop that is set whenever there is something to read."""
        event = asyncio.Event()
        with self._lock:
            self._readers[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self._lock:
                del self._readers[event]

    def __len__(self) -> int:
        return len(self._readers)
