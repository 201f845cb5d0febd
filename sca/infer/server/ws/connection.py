"""The base class of WebSocket sessions: one client with a live session, from the first message to the close code.

A protocol derives from `Connection`, reads the client's messages and encodes the session's events. Messages leave
through a send queue.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Literal

import anyio

from sca.errors import ScaError
from sca.infer.clock import Clock, LoopClock
from sca.infer.engine import SessionConfig
from sca.infer.frames import AudioOutput
from sca.infer.generation import GenerationOptions
from sca.infer.interfaces import AudioSink, BaseListener
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.security import KEY_PROTOCOL, OPENAI_KEY_PROTOCOL
from sca.infer.server.ws.resumable_socket import ClientDisconnectedError, ClientSocket, ResumableSocket
from sca.infer.server.ws.resume import RESUME_PROTOCOL
from sca.infer.server.ws.send_queue import Message, SendQueue
from sca.infer.server.ws.stream_io import NetworkSink, NetworkSource
from sca.infer.session.broadcast import BroadcastListener
from sca.infer.session.loop import LiveSession

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.core.sessions import SessionEnd, SessionSlot
    from sca.infer.server.core.state import ServerContext

__all__ = ["REJECTED", "Connection", "EndReason", "accept", "add_websocket", "logger"]

logger = logging.getLogger(__name__)

EndReason = Literal["end", "idle", "session_limit", "stopping", "bad_message", "failed", "disconnected"]
"""Why a connection ends. `disconnected`: the client did, so no close code is sent."""

REJECTED = 1013
"""The close code of a connection that got no session slot."""

_CLOSE_CODES: dict[EndReason, int] = {
    "end": 1000,
    "idle": 1008,
    "session_limit": 1008,
    "stopping": 1001,
    "bad_message": 1008,
    "failed": 1011,
}
_CLOSE_S = 5.0  # for a client to read the rest of its messages
_MAX_REASON_BYTES = 123  # of a WebSocket close message
_NOT_ACCEPTED = (KEY_PROTOCOL, RESUME_PROTOCOL, OPENAI_KEY_PROTOCOL, "openai-")


class Connection(BaseListener, ABC):
    """One client's connection. The session starts with `_start_session`."""

    def __init__(self, context: "ServerContext", websocket: ClientSocket, slot: "SessionSlot") -> None:
        self._context, self._slot = context, slot
        self._live, self._grid = context.settings.live, context.settings.grid
        self._socket = ResumableSocket(websocket, self._on_broken)
        self._send_queue = SendQueue(self._live.speak_buffer_ms, self._gap_messages, self._on_overflow)
        slot.unsent_ms = lambda: self._send_queue.audio_ms
        slot.unacknowledged_bytes = lambda: self._socket.unacknowledged_bytes
        self._source: NetworkSource | None = None
        self._session: LiveSession | None = None
        self._ended, self._all_sent = anyio.Event(), anyio.Event()
        self._end_reason: EndReason = "end"
        self._close_text = ""

    async def run(self) -> None:
        """Serve the client until either side ends the connection."""
        logger.info("session %s started at %s", self._slot.id, self._slot.endpoint)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._send_messages)
            tasks.start_soon(self._watch_limits)
            for task in self._client_tasks():
                tasks.start_soon(task)
            await self._ended.wait()
            # A client that may resume gets the rest of its messages when it reconnects.
            resume_s = self._socket.resume_timeout_s if self._end_reason in ("end", "failed") else 0
            with anyio.move_on_after(_CLOSE_S + resume_s):
                await self._close()
            self._socket.end()
            tasks.cancel_scope.cancel()
        logger.info("session %s ended: %s", self._slot.id, self._end_reason)

    @abstractmethod
    def _client_tasks(self) -> Sequence[Callable[[], Coroutine[object, None, None]]]:
        """Return the tasks of the protocol, which run as long as the connection."""

    @abstractmethod
    def _encode(self, frame: AudioOutput) -> Sequence[Message]:
        """Return the messages of a frame of spoken audio."""

    def _on_flush(self) -> None:
        """Handle that the client should stop playing what it has received."""

    def _on_limit_warning(self, reason: "SessionEnd", left_s: float) -> None:
        """Handle that the session will be ended.

        Args:
            reason: Why.
            left_s: The seconds left.
        """

    def _on_failure(self, message: str) -> None:
        """Handle that the engine failed.

        Args:
            message: One line for the client.
        """

    def _gap_messages(self, ms: float) -> Sequence[Message]:
        """Return the messages that replace audio which was dropped because the client read too slowly."""
        return ()

    def _on_overflow(self) -> None:
        logger.warning("session %s: its client does not read what it is sent", self._slot.id)
        self._end("disconnected")

    def _on_broken(self) -> None:
        self._slot.disconnected = True
        logger.info("session %s disconnected; it may resume for %g s", self._slot.id, self._socket.resume_timeout_s)

    def _end(self, reason: EndReason, close_text: str = "") -> None:
        """End the connection.

        Args:
            reason: Why.
            close_text: The text of the close message, if it is more specific than the reason.
        """
        if not self._ended.is_set():
            self._end_reason, self._close_text = reason, close_text
            self._ended.set()

    async def _close(self) -> None:
        if self._end_reason == "disconnected":
            return
        self._send_queue.close()
        await self._all_sent.wait()
        text = (self._close_text or self._end_reason).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        await self._socket.close(_CLOSE_CODES[self._end_reason], text)

    async def _send_messages(self) -> None:
        try:
            await self._socket.send_all(self._send_queue)
        except ClientDisconnectedError:
            self._end("disconnected")
        self._all_sent.set()

    async def _watch_limits(self) -> None:
        self._end(await self._context.sessions.watch(self._slot, self._on_limit_warning))
        self._socket.disable_resume()

    async def _receive(self) -> Message | None:
        """Wait for the next message; None once the client has disconnected."""
        try:
            message = await self._socket.receive()
        except ClientDisconnectedError:
            self._end("disconnected")
            return None
        self._slot.touch()
        return message

    def _start_session(
        self,
        prompt: str,
        turns: Literal["found", "given"] = "found",
        voice: str | None = None,
        generation: GenerationOptions | None = None,
    ) -> NetworkSource:
        """Start the session and return its source.

        Args:
            prompt: The system prompt.
            turns: See `SessionConfig`.
            voice: See `SessionConfig`.
            generation: See `SessionConfig`; None for the settings of the engine.
        """
        options = GenerationOptions() if generation is None else generation
        config = SessionConfig(self._slot.id, self._grid, prompt, voice, turns=turns, generation=options)
        clock = LoopClock()
        source = NetworkSource(clock, self._grid, self._live)
        published = BroadcastListener(self._context.broadcast, self._slot.id)
        listeners = [source, self, published]
        self._session = self._context.new_session(source, self._new_sink(clock), clock, config, listeners)
        self._tasks.start_soon(self._run_session, self._session)
        return source

    def _new_sink(self, clock: Clock) -> AudioSink:
        """Return the sink of a session that is about to start."""
        return NetworkSink(
            self._send_queue,
            clock,
            self._live,
            self._encode,
            on_flush=self._on_flush,
            may_drop=self._may_drop,
            on_dropped=self._context.metrics.count_dropped_audio,
        )

    def _may_drop(self) -> bool:
        """Return whether audio may be dropped because the client reads too slowly.

        A conversation must continue. A client that sends faster than real time, or may resume, gets everything.
        """
        return (
            self._live.lag_policy == "skip"
            and self._socket.connected
            and self._source is not None
            and not self._source.early
        )

    def _drop_session(self) -> None:
        """End the session of the engine, but not the connection: another one will be started."""
        session, source = self._session, self._source
        self._session = self._source = None
        if session is not None and source is not None:
            source.close()
            session.stop()

    async def _run_session(self, session: LiveSession) -> None:
        reason: EndReason = "failed"
        try:
            await session.run()
            reason = "end"
        except ScaError as error:
            logger.error("session %s: %s", self._slot.id, error.message)
            self._on_failure(error.message)
        except Exception:  # the boundary of one session: the others continue
            logger.exception("session %s failed", self._slot.id)
            self._on_failure("the server failed; see its log")
        if session is not self._session and reason == "end":
            return  # it was dropped
        if self._source is not None:
            self._source.close()  # wakes a task that waits for room in the source
        self._context.broadcast.end_session(self._slot.id)
        self._end(reason)


async def accept(websocket: "WebSocket") -> None:
    """Accept a connection with the first offered subprotocol that holds no secret and no option.

    Browsers require one of their own.
    """
    offered = websocket.scope.get("subprotocols", [])
    public = [subprotocol for subprotocol in offered if not subprotocol.startswith(_NOT_ACCEPTED)]
    await websocket.accept(subprotocol=public[0] if public else None)


def add_websocket(
    app: "FastAPI",
    context: "ServerContext",
    path: str,
    connect: "Callable[[ServerContext, WebSocket, SessionSlot], Connection]",
) -> None:
    """Add a WebSocket endpoint. A client that gets no session slot is rejected with the reason.

    Args:
        app: The application.
        context: The state of the server.
        path: The path of the endpoint.
        connect: Creates the connection of a client.
    """
    name = path.rpartition("/")[2]

    async def endpoint(websocket: "WebSocket") -> None:
        await accept(websocket)
        try:
            with context.sessions.acquire(name, websocket.scope) as slot:
                await connect(context, websocket, slot).run()
        except RequestRejectedError as error:
            await websocket.close(REJECTED, error.message)

    app.router.add_websocket_route(path, endpoint)
