"""The session registry: a bounded number of sessions, each with an idle limit and a total limit.

A session gets a warning before a limit ends it.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import anyio

from sca.infer.server.core.errors import RequestRejectedError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import ServeConfig

__all__ = ["CLIENT", "SessionEnd", "SessionRegistry", "SessionSlot"]

CLIENT = "sca.client"
"""The key of the ASGI scope under which the middleware notes whose share of the sessions a request belongs to."""

SessionEnd = Literal["idle", "session_limit", "stopping"]
"""Why the server ends a session."""

_Limit = Literal["idle", "session_limit"]
_LIMITS: tuple[_Limit, ...] = ("idle", "session_limit")
_POLL_S = 0.02
_CLOSE_S = 1.0  # for the sessions to close their connections after `serve.drain_s`


class SessionSlot:
    """One of the places in a `SessionRegistry`, taken by a session.

    Attributes:
        id: Identifies the session in logs and messages.
        endpoint: The name of the endpoint that the client connected to.
        client: Whose share of the sessions it belongs to; None if it has no limit.
        speaking: Whether a response is being sent; a server that stops waits for its end.
        disconnected: Whether the connection broke and the session waits for the client to resume it.
        unsent_ms: Returns the audio in the send queue in ms, for the metrics.
        unacknowledged_bytes: Returns the size of the messages kept for a resuming client, for the metrics.
        started_s: When the session started, in the event loop's time.
    """

    def __init__(self, endpoint: str, client: str | None) -> None:
        self.id = secrets.token_hex(8)
        self.endpoint, self.client = endpoint, client
        self.speaking = self.disconnected = False
        self.unsent_ms: Callable[[], float] = lambda: 0.0
        self.unacknowledged_bytes: Callable[[], int] = lambda: 0
        self._time_s = asyncio.get_running_loop().time
        self.started_s = self._active_s = self._time_s()

    def touch(self) -> None:
        """Note that the client sent something, which restarts the idle limit."""
        self._active_s = self._time_s()

    def deadline_s(self, limit: _Limit, config: "ServeConfig") -> float:
        """Return when a limit ends the session, in the event loop's time."""
        return self._active_s + config.idle_s if limit == "idle" else self.started_s + config.session_s


class SessionRegistry:
    """All sessions of a server.

    Attributes:
        limit: Most sessions at a time: `serve.max_sessions`, or fewer if the engine has no space for them.
        started: How many sessions have been started.
        rejected: How many were rejected because no slot was free.
        stopping: Whether the server is stopping and rejects new sessions.
    """

    def __init__(self, config: "ServeConfig", engine_limit: int | None = None) -> None:
        """Create a registry.

        Args:
            config: The limits.
            engine_limit: Most sessions of the engine (`EngineInfo.most_sessions`).
        """
        self._config = config
        self.limit = config.max_sessions if engine_limit is None else min(config.max_sessions, engine_limit)
        self._slots: set[SessionSlot] = set()
        self._stop_event: anyio.Event | None = None
        self.started = self.rejected = 0
        self.stopping = False

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[SessionSlot]:
        return iter(self._slots)

    def refusal(self) -> str | None:
        """Return why a session would be rejected now; None if it would be accepted."""
        if self.stopping:
            return "the server is stopping"
        limit = self.limit
        if len(self._slots) < limit:
            return None
        return f"{counted(limit, 'session')} {'is' if limit == 1 else 'are'} open, and that is the limit"

    def _check(self, client: str | None) -> None:
        """Raise `RequestRejectedError` if a client gets no session now."""
        refusal, status = self.refusal(), 503
        share = self._config.client_share(self.limit)
        if refusal is None and client is not None and sum(slot.client == client for slot in self._slots) >= share:
            refusal, status = f"{counted(share, 'session')} of this client are open, and that is the limit", 429
        if refusal is not None:
            self.rejected += 1
            raise RequestRejectedError(status, refusal, retry_after_s=1)

    @contextmanager
    def acquire(self, endpoint: str, scope: Mapping[str, object]) -> Iterator[SessionSlot]:
        """Take a slot for the duration of the block.

        Args:
            endpoint: The name of the endpoint that the client connected to.
            scope: The ASGI scope of the request.

        Yields:
            The slot.

        Raises:
            RequestRejectedError: No slot is free, or the server is stopping (503); the client has its share (429).
        """
        given = scope.get(CLIENT)
        client = given if isinstance(given, str) else None
        self._check(client)
        slot = SessionSlot(endpoint, client)
        self._slots.add(slot)
        self.started += 1
        try:
            yield slot
        finally:
            self._slots.discard(slot)

    async def watch(self, slot: SessionSlot, warn: Callable[[SessionEnd, float], object]) -> SessionEnd:
        """Wait until a session must end.

        Args:
            slot: The slot of the session.
            warn: Called `serve.warn_s` before a limit, with the limit and the seconds left.

        Returns:
            Why the session must end.
        """
        warned: set[SessionEnd] = set()
        config = self._config
        while not self.stopping:
            now_s = anyio.current_time()
            wake_s = float("inf")
            for limit in _LIMITS:
                left_s = slot.deadline_s(limit, config) - now_s
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
                await self._stop_requested().wait()
        warn("stopping", config.drain_s)
        with anyio.move_on_after(config.drain_s):
            while slot.speaking and not slot.disconnected:
                await anyio.sleep(_POLL_S)
        return "stopping"

    async def drain(self) -> None:
        """Reject new sessions, end the open ones, and wait for them for `serve.drain_s` and a second."""
        self.stopping = True
        self._stop_requested().set()
        with anyio.move_on_after(self._config.drain_s + _CLOSE_S):
            while self._slots:
                await anyio.sleep(_POLL_S)

    def _stop_requested(self) -> anyio.Event:
        # Created on first use: the registry is made before the event loop runs.
        if self._stop_event is None:
            self._stop_event = anyio.Event()
        return self._stop_event
