"""`WS /ws/pcm16`: raw PCM16 in, JSON and PCM16 out.

A client may first send JSON options, in one message or several: `{"prompt"}`, `{"voice"}`, `{"frames_per_chunk"}`,
`{"frame_hz"}`, `{"resume"}`, `{"generation"}`. It then sends audio as binary messages of any size, int16 little-endian
mono at 16 kHz. Later text messages are `{"type": "interrupt"}`, `{"type": "end"}` and `{"type": "ack"}`.
"""

import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from typing_extensions import override

from sca.audio.pcm import pcm16_samples
from sca.infer.frames import AudioOutput, ControlFrame, ErrorFrame, Frame, Interrupt, ThoughtPacket, TurnEnd, UserText
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.protocols.pcm16_messages import (
    Acknowledgement,
    BadMessageError,
    SessionOptions,
    audio_announcement,
    chunk_reply,
    control_document,
    dropped_audio,
    read_text,
    validate,
)
from sca.infer.server.ws.connection import REJECTED, Connection, EndReason, accept, logger
from sca.infer.server.ws.resumable_socket import ClientDisconnectedError, ClientSocket, ResumeGapError
from sca.infer.server.ws.resume import (
    ResumeRejectedError,
    ResumeRequest,
    ResumeTokens,
    client_identity,
    parse_resume_request,
)
from sca.infer.server.ws.send_queue import Message

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.core.sessions import SessionEnd, SessionSlot
    from sca.infer.server.core.state import ServerContext

__all__ = ["Pcm16Connection", "add"]

_encode_json = json.JSONEncoder(ensure_ascii=False).encode
_RESUMED_ELSEWHERE = 4000  # the close code of a socket after its session was resumed on another one


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoint."""
    tokens: ResumeTokens[Pcm16Connection] = ResumeTokens()

    async def endpoint(websocket: "WebSocket") -> None:
        from starlette.websockets import WebSocketDisconnect

        request = parse_resume_request(websocket.scope["subprotocols"])
        identity = client_identity(websocket.scope)
        await accept(websocket)
        try:
            if request is None:
                with context.sessions.acquire("pcm16", websocket.scope) as slot:
                    await Pcm16Connection(context, websocket, slot, tokens, identity).run()
            else:
                await _resume(context, websocket, request, tokens.find(request.token, identity))
        except RequestRejectedError as error:
            await websocket.close(REJECTED, error.message)
        except ResumeRejectedError as error:
            context.metrics.resumes.labels(error.code).inc()
            with suppress(WebSocketDisconnect, RuntimeError):  # the client has disconnected
                document = {"type": "error", "code": error.code, "message": error.message}
                await websocket.send_text(_encode_json(document))
                await websocket.close(1008, error.code)

    app.router.add_websocket_route("/ws/pcm16", endpoint)


async def _resume(
    context: "ServerContext", websocket: "WebSocket", request: ResumeRequest, connection: "Pcm16Connection"
) -> None:
    """Continue a session on another socket, until that socket is unused."""
    from starlette.websockets import WebSocketDisconnect

    old = connection.attach(websocket, request.received)
    context.metrics.resumes.labels("resumed").inc()
    if old is not None:  # the client detected the broken connection before the server did
        with anyio.move_on_after(1), suppress(WebSocketDisconnect, RuntimeError):
            await old.close(_RESUMED_ELSEWHERE, "the session continues on another connection")
    await connection.wait_detached(websocket)


class Pcm16Connection(Connection):
    """One client. The session starts with the first audio, because the client may choose its grid before."""

    def __init__(
        self,
        context: "ServerContext",
        websocket: "WebSocket",
        slot: "SessionSlot",
        tokens: "ResumeTokens[Pcm16Connection]",
        identity: bytes,
    ) -> None:
        super().__init__(context, websocket, slot)
        self._tokens, self._identity = tokens, identity
        self._chosen: dict[str, object] = {}
        self._options = SessionOptions()
        self._resumable = False
        self._on_first_message: Callable[[], object] = lambda: None
        self._half_sample = b""

    @override
    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self._tokens.invalidate(self, "resume_expired")

    @override
    def _client_tasks(self) -> Sequence[Callable[[], Coroutine[object, None, None]]]:
        return (self._read_messages,)

    # Resuming

    def _enable_resume(self) -> None:
        """Allow the client to resume, and send its first token."""
        serve = self._context.settings.serve
        self._resumable = True
        token = None
        if serve.resume_s:
            self._socket.enable_resume(serve.resume_s, serve.resume_bytes)
            token = self._tokens.issue(self, self._identity)
        self._send({"type": "session", "session_id": self._slot.id, "resume_token": token, "resume_s": serve.resume_s})

    def attach(self, websocket: "WebSocket", received: int) -> ClientSocket | None:
        """Continue on another socket.

        Args:
            websocket: The new socket.
            received: How many messages the client has received.

        Returns:
            The socket that was replaced, if there was one.

        Raises:
            ResumeRejectedError: The session has ended, or the messages that the client lacks have been dropped.
        """

        def greeting(received: int) -> str:
            token = self._tokens.issue(self, self._identity)
            self._on_first_message = lambda: self._tokens.invalidate(self, "resume_used", keep=token)
            return _encode_json(
                {"type": "resumed", "session_id": self._slot.id, "resume_token": token, "received": received}
            )

        try:
            old = self._socket.attach(websocket, received, greeting, lambda: self._on_first_message())
        except ResumeGapError as error:
            raise ResumeRejectedError("resume_lost") from error
        except ClientDisconnectedError as error:
            raise ResumeRejectedError("resume_expired") from error
        self._slot.disconnected = False
        self._slot.touch()
        if self._source is not None:
            self._source.resume()
        logger.info("session %s resumed", self._slot.id)
        return old

    async def wait_detached(self, websocket: "WebSocket") -> None:
        """Wait until a socket is unused."""
        await self._socket.wait_detached(websocket)

    # Sending

    def _send(self, document: dict[str, object]) -> None:
        self._send_queue.put(_encode_json(document))

    @override
    def _end(self, reason: EndReason, close_text: str = "") -> None:
        if not self._ended.is_set() and reason != "disconnected":
            self._send({"type": "bye", "reason": reason})
        super()._end(reason, close_text)

    @override
    def _on_limit_warning(self, reason: "SessionEnd", left_s: float) -> None:
        self._send({"type": "warning", "reason": reason, "seconds_left": round(left_s, 1)})

    @override
    def _on_failure(self, message: str) -> None:
        self._send({"type": "error", "code": "failed", "message": message})

    @override
    def _gap_messages(self, ms: float) -> tuple[str]:
        return (_encode_json(dropped_audio(ms)),)

    @override
    def _encode(self, frame: AudioOutput) -> tuple[str | bytes, ...]:
        if not self._options.audio:
            return ()
        return _encode_json(audio_announcement(frame)), frame.audio_bytes

    @override
    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        text = "".join(frame.text_log for frame in frames if isinstance(frame, AudioOutput))
        if not text and not self._context.engine.info.produces_audio:
            text = "".join(frame.text_token_str for frame in frames if isinstance(frame, ThoughtPacket))
        document = chunk_reply(text, self._grid, chunk_index)
        self._send(document | ({"received": self._socket.received} if self._resumable else {}))

    @override
    def on_user_text(self, frame: UserText) -> None:
        self._send({"type": "user_text", "text": frame.text, "is_final": frame.is_final})

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        self._slot.speaking = True

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, TurnEnd | Interrupt):
            self._slot.speaking = False
        if not (isinstance(frame, ErrorFrame) and frame.fatal):  # a fatal error is sent by `_on_failure`
            self._send(control_document(frame))

    # Receiving

    async def _read_messages(self) -> None:
        while (message := await self._receive()) is not None:
            try:
                await self._handle(message)
            except BadMessageError as error:
                self._send({"type": "error", "code": "bad_message", "message": str(error)})
                if self._session is None:
                    self._end("bad_message")
            await self._send_queue.wait_for_room()

    async def _handle(self, message: Message) -> None:
        ending = self._ended.is_set()  # then only acknowledgements matter
        if isinstance(message, str):
            kind, fields = read_text(message)
            if kind == "ack" or not ending:
                self._handle_text(kind, fields)
        elif not ending:
            await self._handle_audio(message)

    async def _handle_audio(self, data: bytes) -> None:
        if self._source is None:
            generation = self._options.options
            self._source = self._start_session(self._prompt, voice=self._options.voice, generation=generation)
        if self._half_sample:
            data = self._half_sample + data
        whole = len(data) // 2 * 2
        self._half_sample = data[whole:]
        await self._source.put(pcm16_samples(memoryview(data)[:whole]))
        self._socket.set_wanted_bytes(2 * self._source.missing_samples - len(self._half_sample))

    @property
    def _prompt(self) -> str:
        prompt = self._options.prompt
        return self._context.settings.duplex.system_prompt if prompt is None else prompt

    def _handle_text(self, kind: str, fields: dict[str, object]) -> None:
        match kind:
            case "start" if self._session is None:
                self._choose_options(fields)
            case "interrupt" if self._session is not None:
                self._session.interrupt()
            case "ack" if self._resumable:
                self._acknowledge(validate(Acknowledgement, fields).received)
            case "end":
                if self._source is None:
                    self._end("end")
                else:
                    self._source.close()
            case "start":
                raise BadMessageError(
                    "prompt, voice, frames_per_chunk, frame_hz, resume, audio and generation must precede the first audio"
                )
            case _:
                raise BadMessageError(
                    "the types of text messages are start, interrupt (after the first audio), ack (with resume) and end"
                )

    def _acknowledge(self, received: int) -> None:
        try:
            self._socket.acknowledge(received)
        except ResumeGapError as error:
            raise BadMessageError(f"received: {self._socket.sent} messages were sent, not {received}") from error

    def _choose_options(self, fields: dict[str, object]) -> None:
        self._chosen |= fields
        self._options = validate(SessionOptions, self._chosen)
        voice = self._options.voice
        if voice is not None and (problem := self._context.engine.info.voice_problem(voice)):
            raise BadMessageError(f"voice: {problem}")
        unfollowed = self._context.engine.info.generation_problem(self._options.options)
        if unfollowed is not None and "generation" in fields:
            self._send({"type": "warning", "reason": "unsupported_settings", "message": unfollowed})
        self._grid = self._options.grid(self._context.settings.grid)
        if self._options.resume and not self._resumable:
            self._enable_resume()
