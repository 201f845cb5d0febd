"""`WS /ws/pcm16`: raw PCM16 in, JSON and PCM16 out, over a live session.

Optional JSON first: `{"prompt"}`, `{"frames_per_chunk"}`, `{"frame_hz"}`, `{"resume"}`, in one message or several. Then binary,
little-endian mono at 16 kHz in frames of any size. Later texts: `{"type": "interrupt"}`, `{"type": "end"}`, `{"type": "ack"}`.
"""

import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np

from sca.infer.frames import AudioOutput, ControlFrame, ErrorFrame, Frame, Interrupt, ThoughtPacket, TurnEnd
from sca.infer.server.http.limits import RequestRejectedError
from sca.infer.server.protocols.pcm16_messages import (
    Ack,
    BadMessageError,
    Options,
    audio_head,
    control_document,
    lost_sound,
    read_text,
    reply,
    validated,
)
from sca.infer.server.ws.endpoint import Connection, logger
from sca.infer.server.ws.resumable_socket import ClientDisconnectedError, ResumeGapError
from sca.infer.server.ws.resume import ResumeRefusedError, ResumeRequest, Tokens, client_identity, read_offer
from sca.infer.server.ws.send_queue import Message

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.app import ServerContext
    from sca.infer.server.ws.session_slots import SessionEnd, SessionSlot

__all__ = ["add"]

_encode = json.JSONEncoder(ensure_ascii=False).encode
_ELSEWHERE = 4000  # the close code of a connection whose session went on with another


def add(app: "FastAPI", server: "ServerContext") -> None:
    """Add the endpoint."""
    tokens: Tokens[_Conversation] = Tokens()

    async def endpoint(websocket: "WebSocket") -> None:
        from starlette.websockets import WebSocketDisconnect

        offer, identity = read_offer(websocket.scope["subprotocols"]), client_identity(websocket.scope)
        await server.accept(websocket)
        try:
            if offer is None:
                with server.sessions.seat("pcm16") as seat:
                    await _Conversation(server, websocket, seat, tokens, identity).run()
            else:
                await _resume(server, websocket, offer, tokens.find(offer.token, identity))
        except RequestRejectedError as refusal:
            await websocket.close(1013, refusal.what)
        except ResumeRefusedError as refusal:
            server.metrics.resumes.labels(refusal.code).inc()
            with suppress(WebSocketDisconnect, RuntimeError):  # gone already
                await websocket.send_text(_encode({"type": "error", "code": refusal.code, "message": refusal.what}))
                await websocket.close(1008, refusal.code)

    app.router.add_websocket_route("/ws/pcm16", endpoint)


async def _resume(
    server: "ServerContext", websocket: "WebSocket", offer: ResumeRequest, conversation: "_Conversation"
) -> None:
    """Let a session go on with another socket, for as long as it does."""
    from starlette.websockets import WebSocketDisconnect

    old = conversation.attach(websocket, offer.received)
    server.metrics.resumes.labels("resumed").inc()
    if old is not None:  # the client noticed that it broke, and the server had not
        with anyio.move_on_after(1), suppress(WebSocketDisconnect, RuntimeError):
            await old.close(_ELSEWHERE, "the session goes on with another connection")
    await conversation.detached(websocket)


class _Conversation(Connection):
    """One session. It begins with the first sound, because its grid may be chosen before."""

    def __init__(
        self,
        server: "ServerContext",
        websocket: "WebSocket",
        seat: "SessionSlot",
        tokens: "Tokens[_Conversation]",
        identity: bytes,
    ) -> None:
        super().__init__(server, websocket, seat)
        self._tokens, self._identity = tokens, identity
        self._chosen: dict[str, Any] = {}
        self._options = Options()
        self._resumable = False
        self._answered: Callable[[], object] = lambda: None
        self._half = b""

    async def run(self) -> None:
        """See `Connection`."""
        try:
            await super().run()
        finally:
            self._tokens.spend(self, "resume_expired")

    def _work(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        return (self._read,)

    # Coming back

    def _keep(self) -> None:
        """The client wants to be able to come back."""
        serve = self._server.settings.serve
        self._resumable = True
        token = None
        if serve.resume_s:
            self._link.keep(serve.resume_s, serve.resume_bytes)
            token = self._tokens.issue(self, self._identity)
        self._send({"type": "session", "session_id": self._seat.id, "resume_token": token, "resume_s": serve.resume_s})

    def attach(self, websocket: "WebSocket", received: int) -> "WebSocket | None":
        """Go on with another socket; returns the one it replaces. Raises `ResumeRefusedError`."""

        def hello(have: int) -> str:
            token = self._tokens.issue(self, self._identity)
            self._answered = lambda: self._tokens.spend(self, "resume_used", but=token)
            return _encode({"type": "resumed", "session_id": self._seat.id, "resume_token": token, "received": have})

        try:
            old = self._link.attach(websocket, received, hello, lambda: self._answered())
        except ResumeGapError as error:
            raise ResumeRefusedError("resume_lost") from error
        except ClientDisconnectedError as error:
            raise ResumeRefusedError("resume_expired") from error
        self._seat.waiting = False
        self._seat.touch()
        if self._source is not None:
            self._source.resume()
        logger.info("session %s goes on", self._seat.id)
        return old

    async def detached(self, websocket: "WebSocket") -> None:
        """Return when a socket is not used any more."""
        await self._link.released(websocket)

    # Out

    def _send(self, document: dict[str, Any]) -> None:
        self._outbox.put(_encode(document))

    def _end(self, why: str, words: str = "") -> None:
        if not self._done.is_set() and why != "gone":
            self._send({"type": "bye", "reason": why})
        super()._end(why, words)

    def _warn(self, reason: "SessionEnd", left_s: float) -> None:
        self._send({"type": "warning", "reason": reason, "seconds_left": round(left_s, 1)})

    def _failed(self, message: str) -> None:
        self._send({"type": "error", "code": "failed", "message": message})

    def _lost(self, ms: float) -> tuple[str]:
        return (_encode(lost_sound(ms)),)

    def _spoken(self, frame: AudioOutput) -> tuple[str, bytes]:
        return _encode(audio_head(frame)), frame.audio_bytes

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """The reply to a chunk."""
        said = "".join(frame.text_log for frame in frames if isinstance(frame, AudioOutput))
        thought = "".join(frame.text_token_str for frame in frames if isinstance(frame, ThoughtPacket))
        document = reply(said or ("" if self._server.engine.info.produces_audio else thought), self._grid, chunk_index)
        self._send(document | ({"received": self._link.received} if self._resumable else {}))

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """Sound was sent."""
        self._seat.busy = True

    def on_control(self, frame: ControlFrame) -> None:
        """Tell the client what happened."""
        if isinstance(frame, TurnEnd | Interrupt):
            self._seat.busy = False
        if not (isinstance(frame, ErrorFrame) and frame.fatal):  # that one ends the session, and is told then
            self._send(control_document(frame))

    # In

    async def _read(self) -> None:
        while (message := await self._receive()) is not None:
            try:
                await self._take(message)
            except BadMessageError as error:
                self._send({"type": "error", "code": "bad_message", "message": str(error)})
                if self._session is None:
                    self._end("bad_message")
            await self._outbox.room()

    async def _take(self, message: Message) -> None:
        over = self._done.is_set()  # then only what the client has got matters
        if isinstance(message, str):
            kind, values = read_text(message)
            if kind == "ack" or not over:
                self._do(kind, values)
        elif not over:
            await self._hear(message)

    async def _hear(self, data: bytes) -> None:
        if self._source is None:
            self._source = self._begin(self._prompt)
        if self._half:
            data = self._half + data
        whole = len(data) // 2 * 2
        self._half = data[whole:]
        await self._source.put(np.frombuffer(data, "<i2", whole // 2).astype(np.float32) / 32768)
        self._link.want(2 * self._source.missing - len(self._half))

    @property
    def _prompt(self) -> str:
        prompt = self._options.prompt
        return self._server.settings.duplex.system_prompt if prompt is None else prompt

    def _do(self, kind: str, values: dict[str, Any]) -> None:
        match kind:
            case "start" if self._session is None:
                self._choose(values)
            case "interrupt" if self._session is not None:
                self._session.interrupt()
            case "ack" if self._resumable:
                self._acknowledge(validated(Ack, values).received)
            case "end":
                if self._source is None:
                    self._end("end")
                else:
                    self._source.close()
            case "start":
                raise BadMessageError("prompt, frames_per_chunk, frame_hz and resume are chosen before the first sound")
            case _:
                raise BadMessageError(
                    "the types of text messages are start, interrupt (once there was sound), ack (with resume) and end"
                )

    def _acknowledge(self, received: int) -> None:
        try:
            self._link.acknowledge(received)
        except ResumeGapError as error:
            raise BadMessageError(f"received: {self._link.sent} messages were sent, not {received}") from error

    def _choose(self, values: dict[str, Any]) -> None:
        self._chosen |= values
        self._options = validated(Options, self._chosen)
        self._grid = self._options.grid(self._server.settings.grid)
        if self._options.resume and not self._resumable:
            self._keep()
