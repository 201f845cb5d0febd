"""`WS /ws/pcm16`: raw PCM16 in, JSON and PCM16 out, over a live session.

Optional JSON first: `{"prompt"}`, `{"frames_per_chunk"}`, `{"frame_hz"}`, in one message or several. Then binary, little-endian
mono at 16 kHz in frames of any size. Later texts: `{"type": "interrupt"}` and `{"type": "end"}`.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import GridError, ScaError
from sca.infer.clock import LoopClock
from sca.infer.engine import SessionConfig
from sca.infer.frames import AudioOutput, Control, Error, Frame, Lag, ThoughtPacket, TurnEnd
from sca.infer.loop import LiveSession
from sca.infer.ports import Watcher
from sca.infer.server.limits import RefusedError
from sca.infer.server.network import NetworkSink, NetworkSource, Outbox
from sca.units import Grid

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.app import Server
    from sca.infer.server.sessions import Ending, Seat

__all__ = ["add"]

logger = logging.getLogger(__name__)

_CLOSE_S = 5.0  # what a client that does not read may still take at the end
_CODES = {"end": 1000, "idle": 1008, "session_limit": 1008, "stopping": 1001, "bad_message": 1008, "failed": 1011}


class _Options(BaseModel):
    """What a client may choose. Others keep what the server was started with."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: str | None = Field(None, max_length=8000)
    frames_per_chunk: int | None = Field(None, ge=1, le=100)
    frame_hz: float | None = Field(None, gt=0, le=100)


class _BadMessageError(Exception):
    """A message that cannot be read, in words for its sender."""


def add(app: "FastAPI", server: "Server") -> None:
    """Add the endpoint."""

    async def endpoint(websocket: "WebSocket") -> None:
        await server.accept(websocket)
        try:
            with server.sessions.seat("pcm16") as seat:
                await _Conversation(server, websocket, seat).run()
        except RefusedError as refusal:
            await websocket.close(1013, refusal.what)

    app.router.add_websocket_route("/ws/pcm16", endpoint)


class _Conversation(Watcher):
    """One connection. The session begins with the first sound, because its grid may be chosen before."""

    def __init__(self, server: "Server", websocket: "WebSocket", seat: "Seat") -> None:
        self._server, self._websocket, self._seat = server, websocket, seat
        self._settings = server.settings
        self._outbox = Outbox(self._settings.live.speak_buffer_ms)
        self._chosen: dict[str, Any] = {}
        self._half = b""
        self._source: NetworkSource | None = None
        self._session: LiveSession | None = None
        self._grid = self._settings.grid
        self._why = "end"
        self._done = anyio.Event()

    async def run(self) -> None:
        """Talk until either side ends it."""
        logger.info("session %s began at %s", self._seat.id, self._seat.door)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._write)
            tasks.start_soon(self._watch)
            tasks.start_soon(self._read)
            await self._done.wait()
            with anyio.move_on_after(_CLOSE_S):
                await self._close()
            tasks.cancel_scope.cancel()
        logger.info("session %s ended: %s", self._seat.id, self._why)

    async def _close(self) -> None:
        if self._why == "gone":
            return
        self._send({"type": "bye", "reason": self._why})
        self._outbox.close()
        await self._written.wait()
        try:
            await self._websocket.close(_CODES[self._why], self._why)
        except RuntimeError:  # the client closed at the same time
            self._why = "gone"

    def _end(self, why: str) -> None:
        if not self._done.is_set():
            self._why = why
            self._done.set()

    # Out

    def _send(self, document: dict[str, Any]) -> None:
        self._outbox.put(json.dumps(document, ensure_ascii=False))

    async def _write(self) -> None:
        from starlette.websockets import WebSocketDisconnect

        self._written = anyio.Event()
        try:
            async for message in self._outbox.messages():
                if isinstance(message, bytes):
                    await self._websocket.send_bytes(message)
                else:
                    await self._websocket.send_text(message)
        except (WebSocketDisconnect, RuntimeError):  # gone, in the framework's words
            self._end("gone")
        self._written.set()

    async def _watch(self) -> None:
        def warn(reason: "Ending", left_s: float) -> None:
            self._send({"type": "warning", "reason": reason, "seconds_left": round(left_s, 1)})

        self._end(await self._server.sessions.watch(self._seat, warn))

    # In

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self._end("gone")
                return
            self._seat.touch()
            data = message.get("bytes")
            try:
                if data is not None:
                    await self._hear(data)
                elif self._text(message["text"]):
                    return
            except _BadMessageError as error:
                self._send({"type": "error", "code": "bad_message", "message": str(error)})
                if self._session is None:
                    self._end("bad_message")
                    return
            await self._outbox.room()

    async def _hear(self, data: bytes) -> None:
        if self._source is None:
            self._source = self._begin()
        data = self._half + data
        whole = len(data) // 2 * 2
        self._half = data[whole:]
        await self._source.put(np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768)

    def _text(self, text: str) -> bool:
        """Do what a text says; True when it is the last message."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _BadMessageError("a text message should be JSON; sound goes into binary messages") from error
        if not isinstance(document, dict):
            raise _BadMessageError("a text message should be a JSON object")
        match document.get("type"):
            case None | "start" if self._session is None:
                self._choose({name: value for name, value in document.items() if name != "type"})
            case "interrupt" if self._session is not None:
                self._session.interrupt()
            case "end":
                if self._source is None:
                    self._end("end")
                else:
                    self._source.close()
                return True
            case None | "start":
                raise _BadMessageError("prompt, frames_per_chunk and frame_hz are chosen before the first sound")
            case _:
                raise _BadMessageError("the types of text messages are start, interrupt (once there was sound) and end")
        return False

    def _choose(self, options: dict[str, Any]) -> None:
        self._chosen |= options
        try:
            chosen = _Options.model_validate(self._chosen)
            self._grid = Grid(
                Fraction(repr(chosen.frame_hz)) if chosen.frame_hz is not None else self._settings.grid.frame_hz,
                chosen.frames_per_chunk or self._settings.grid.frames_per_chunk,
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise _BadMessageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        except GridError as error:
            raise _BadMessageError(error.message) from error

    # The session

    def _begin(self) -> NetworkSource:
        prompt = self._chosen.get("prompt")
        config = SessionConfig(
            session_id=self._seat.id,
            grid=self._grid,
            prompt=self._settings.duplex.system_prompt if prompt is None else prompt,
        )
        clock, live = LoopClock(), self._settings.live
        source = NetworkSource(clock, self._grid, live)
        sink = NetworkSink(self._outbox, clock, live, self._announced)
        self._session = self._server.live(source, sink, clock, config, [source, self])
        self._tasks.start_soon(self._converse, self._session)
        return source

    async def _converse(self, session: LiveSession) -> None:
        try:
            await session.run()
        except ScaError as error:
            logger.error("session %s: %s", self._seat.id, error.message)
            self._end("failed")
        except Exception:
            logger.exception("session %s failed", self._seat.id)
            self._send({"type": "error", "code": "failed", "message": "the server failed; its log says how"})
            self._end("failed")
        else:
            self._end("end")

    def _announced(self, frame: AudioOutput) -> tuple[str, bytes]:
        head = {
            "type": "audio",
            "sample_rate": frame.sample_rate,
            "format": "pcm16",
            "samples": frame.samples,
            "chunk_index": frame.chunk_index,
            "turn_id": frame.turn_id,
        }
        return json.dumps(head), frame.audio_bytes

    def stepped(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """The reply to a chunk."""
        said = "".join(frame.text_log for frame in frames if isinstance(frame, AudioOutput))
        thought = "".join(frame.text_token_str for frame in frames if isinstance(frame, ThoughtPacket))
        self._send(
            {
                "text": said or ("" if self._server.engine.info.speaks else thought),
                "chunk_ms": float(self._grid.chunk_s * 1000),
                "frames_per_chunk": self._grid.frames_per_chunk,
                "frame_hz": float(self._grid.frame_hz),
                "chunk_index": chunk_index,
            }
        )

    def said(self, frame: AudioOutput, sample: int) -> None:
        """Sound was sent."""
        self._seat.busy = True

    def control(self, frame: Control) -> None:
        """Tell the client what happened."""
        values = asdict(frame)
        values.pop("sample")
        match frame:
            case Error():
                document = {"type": "error", "code": "failed" if frame.fatal else "engine", "message": frame.message}
            case Lag():
                document = {"type": "lag", **values}
            case TurnEnd():
                self._seat.busy = False
                document = {"type": "turn_end", **values}
            case _:
                self._seat.busy = False
                document = {"type": "interrupt", **values}
        self._send(document)
