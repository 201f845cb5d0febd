"""Who is in: a bounded number of sessions, each with an idle and a total limit that is announced before it ends the session."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import anyio

from sca.infer.server.http.limits import RequestRejectedError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import ServeConfig

__all__ = ["SessionEnd", "SessionRegistry", "SessionSlot"]

SessionEnd = Literal["idle", "session_limit", "stopping"]
_LIMITS: tuple[SessionEnd, ...] = ("idle", "session_limit")


class SessionSlot:
    """One session's place.

    id: for logs and clients.   door: the endpoint it came through.   busy: whether something is being said, which a server that
    stops waits for.   waiting: whether its connection broke and it waits for another.   unsent_ms, kept_bytes: of its outbox and
    its link, for the metrics.
    """

    def __init__(self, door: str) -> None:
        self.id = secrets.token_hex(8)
        self.door = door
        self.busy = self.waiting = False
        self.unsent_ms: Callable[[], float] = lambda: 0.0
        self.kept_bytes: Callable[[], int] = lambda: 0
        self._time_s = asyncio.get_running_loop().time
        self.began_s = self._touched_s = self._time_s()

    def touch(self) -> None:
        """The client sent something."""
        self._touched_s = self._time_s()

    def ends_s(self, limit: SessionEnd, config: "ServeConfig") -> float:
        """When a limit ends it, in the event loop's time."""
        return self._touched_s + config.idle_s if limit == "idle" else self.began_s + config.session_s


class SessionRegistry:
    """Every session of a server.   refused: how many found no place.   stopping: no more are let in."""

    def __init__(self, config: "ServeConfig") -> None:
        self._config = config
        self._seats: set[SessionSlot] = set()
        self._stop: anyio.Event | None = None
        self.served = self.refused = 0
        self.stopping = False

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[SessionSlot]:
        return iter(self._seats)

    @contextmanager
    def seat(self, door: str) -> Iterator[SessionSlot]:
        """A place for as long as the block lasts. Raises `RequestRejectedError` 503, at once, when there is none."""
        if self.stopping:
            self.refused += 1
            raise RequestRejectedError(503, "the server is stopping", retry_after_s=1)
        if len(self._seats) >= self._config.max_sessions:
            self.refused += 1
            most = self._config.max_sessions
            what = f"{counted(most, 'session')} {'is' if most == 1 else 'are'} going on, and that is the limit"
            raise RequestRejectedError(503, what, retry_after_s=1)
        seat = SessionSlot(door)
        self._seats.add(seat)
        self.served += 1
        try:
            yield seat
        finally:
            self._seats.discard(seat)

    async def watch(self, seat: SessionSlot, warn: Callable[[SessionEnd, float], object]) -> SessionEnd:
        """Return when the session has to end, and why. warn: called with the reason and the seconds left, before."""
        warned: set[SessionEnd] = set()
        config = self._config
        while not self.stopping:
            now_s = anyio.current_time()
            wake_s = float("inf")
            for limit in _LIMITS:
                left_s = seat.ends_s(limit, config) - now_s
                if left_s <= 0:
                    return limit
                if left_s > config.warn_s:
                    warned.discard(limit)
                    left_s -= config.warn_s
                elif limit not in warned:
                    warned.add(limit)
                    warn(limit, left_s)
                wake_s = min(wake_s, left_s)
            with anyio.move_on_after(wake_s):
                await self._stopped().wait()
        warn("stopping", config.drain_s)
        with anyio.move_on_after(config.drain_s):
            while seat.busy and not seat.waiting:
                await anyio.sleep(0.02)
        return "stopping"

    async def drain(self) -> None:
        """Let no one in any more, tell every session, and wait until they are gone: `serve.drain_s`, and a moment to close."""
        self.stopping = True
        self._stopped().set()
        with anyio.move_on_after(self._config.drain_s + 1.0):
            while self._seats:
                await anyio.sleep(0.02)

    def _stopped(self) -> anyio.Event:
        if self._stop is None:
            self._stop = anyio.Event()
        return self._stop
