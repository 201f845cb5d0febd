"""One client's WebSocket with a live session behind it: what the doors have in common, from the first message to the close code.

Knows no protocol. A door derives from `Connection`, reads what comes and words what goes; messages leave through the outbox.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from sca.errors import ScaError
from sca.infer.clock import LoopClock
from sca.infer.engine import SessionConfig
from sca.infer.frames import AudioOutput
from sca.infer.interfaces import BaseListener
from sca.infer.server.http.limits import RequestRejectedError
from sca.infer.server.ws.resumable_socket import ClientDisconnectedError, ResumableSocket
from sca.infer.server.ws.send_queue import Message, SendQueue
from sca.infer.server.ws.stream_io import NetworkSink, NetworkSource
from sca.infer.session.loop import LiveSession

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.app import ServerContext
    from sca.infer.server.ws.session_slots import SessionEnd, SessionSlot

__all__ = ["Connection", "add_websocket", "logger"]

logger = logging.getLogger(__name__)

_CODES = {"end": 1000, "idle": 1008, "session_limit": 1008, "stopping": 1001, "bad_message": 1008, "failed": 1011}
_CLOSE_S = 5.0  # what a client that does not read may still take at the end
_REASON_BYTES = 123  # as long as the reason of a close message may be


class Connection(BaseListener, ABC):
    """One connection. The engine's session begins with the first sound it hears (`_begin`)."""

    def __init__(self, server: "ServerContext", websocket: "WebSocket", seat: "SessionSlot") -> None:
        self._server, self._seat = server, seat
        self._live, self._grid = server.settings.live, server.settings.grid
        self._link = ResumableSocket(websocket, self._broke)
        self._outbox = SendQueue(self._live.speak_buffer_ms, self._lost)
        seat.unsent_ms, seat.kept_bytes = lambda: self._outbox.held_ms, lambda: self._link.kept_bytes
        self._source: NetworkSource | None = None
        self._session: LiveSession | None = None
        self._done, self._written = anyio.Event(), anyio.Event()
        self._why, self._words = "end", ""

    async def run(self) -> None:
        """Talk until either side ends it."""
        logger.info("session %s began at %s", self._seat.id, self._seat.door)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._write)
            tasks.start_soon(self._watch)
            for work in self._work():
                tasks.start_soon(work)
            await self._done.wait()
            # What was said to a client that may come back waits for it.
            with anyio.move_on_after(_CLOSE_S + (self._link.patience_s if self._why in ("end", "failed") else 0)):
                await self._close()
            self._link.end()
            tasks.cancel_scope.cancel()
        logger.info("session %s ended: %s", self._seat.id, self._why)

    @abstractmethod
    def _work(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What a door does as long as the connection lasts."""

    @abstractmethod
    def _spoken(self, frame: AudioOutput) -> Sequence[Message]:
        """The messages of a frame of sound."""

    def _silenced(self) -> None:
        """What was sent and not heard yet should fall silent."""

    def _warn(self, reason: "SessionEnd", left_s: float) -> None:
        """The session will be ended."""

    def _failed(self, message: str) -> None:
        """The engine failed, in one line for the client."""

    def _lost(self, ms: float) -> Sequence[Message]:
        """What the client is told where so much sound was dropped, because it reads too slowly."""
        return ()

    def _broke(self) -> None:
        """The socket broke, and the client may come back."""
        self._seat.waiting = True
        logger.info("session %s lost its connection and waits %g s for it", self._seat.id, self._link.patience_s)

    def _end(self, why: str, words: str = "") -> None:
        """End the connection. words: of the close message, where `why` does not say it all."""
        if not self._done.is_set():
            self._why, self._words = why, words
            self._done.set()

    async def _close(self) -> None:
        if self._why == "gone":
            return
        self._outbox.close()
        await self._written.wait()
        words = (self._words or self._why).encode()[:_REASON_BYTES].decode(errors="ignore")
        await self._link.close(_CODES[self._why], words)

    async def _write(self) -> None:
        try:
            await self._link.send_all(self._outbox)
        except ClientDisconnectedError:
            self._end("gone")
        self._written.set()

    async def _watch(self) -> None:
        self._end(await self._server.sessions.watch(self._seat, self._warn))
        self._link.keep_no_more()

    async def _receive(self) -> Message | None:
        """The next message; None when the client is gone."""
        try:
            message = await self._link.receive()
        except ClientDisconnectedError:
            self._end("gone")
            return None
        self._seat.touch()
        return message

    def _begin(self, prompt: str) -> NetworkSource:
        """Begin the session; what it hears goes into the result."""
        config = SessionConfig(session_id=self._seat.id, grid=self._grid, prompt=prompt)
        clock = LoopClock()
        source = NetworkSource(clock, self._grid, self._live)
        sink = NetworkSink(
            self._outbox, clock, self._live, self._spoken,
            silenced=self._silenced, may_drop=self._may_drop, dropped=self._server.metrics.unheard,
        )  # fmt: skip
        self._session = self._server.live(source, sink, clock, config, [source, self])
        self._tasks.start_soon(self._converse, self._session)
        return source

    def _may_drop(self) -> bool:
        """A conversation goes on when its client does not read; who sends ahead of real time, or may come back, is waited for."""
        return (
            self._live.lag_policy == "skip"
            and self._link.attached
            and self._source is not None
            and not self._source.early
        )

    async def _converse(self, session: LiveSession) -> None:
        why = "failed"
        try:
            await session.run()
            why = "end"
        except ScaError as error:
            logger.error("session %s: %s", self._seat.id, error.message)
            self._failed(error.message)
        except Exception:
            logger.exception("session %s failed", self._seat.id)
            self._failed("the server failed; its log says how")
        if self._source is not None:
            self._source.close()  # so that nobody waits for it to have room
        self._end(why)


def add_websocket(
    app: "FastAPI",
    server: "ServerContext",
    path: str,
    door: Callable[["ServerContext", "WebSocket", "SessionSlot"], Connection],
) -> None:
    """Add a door at `path`; who finds no seat is told why, at once."""
    name = path.rpartition("/")[2]

    async def endpoint(websocket: "WebSocket") -> None:
        await server.accept(websocket)
        try:
            with server.sessions.seat(name) as seat:
                await door(server, websocket, seat).run()
        except RequestRejectedError as refusal:
            await websocket.close(1013, refusal.what)

    app.router.add_websocket_route(path, endpoint)
