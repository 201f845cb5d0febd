"""`WS /v1/realtime`: the OpenAI Realtime protocol over a live session, so that stock clients talk to the engine.

The engine listens all the time and decides when it speaks. With turn detection on it hears at once what a client appends, and
the door's VAD tells the client what it notices. With `turn_detection: null` (or `create_response: false`) sound is kept until
`response.create`. An engine lives by what it hears: while it owes an answer and the client sends nothing, it hears silence.
"""

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np

from sca.audio.vad import SileroVad
from sca.infer.frames import AudioOutput, ControlFrame, Interrupt, TurnEnd
from sca.infer.notifier import Notifier
from sca.infer.server.protocols.realtime.events import RealtimeError, RealtimeSession, read_event, write_event
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer
from sca.infer.server.protocols.realtime.response import Items, Response
from sca.infer.server.protocols.realtime.speech_detector import SpeechDetector, SpeechEdge
from sca.infer.server.ws.endpoint import Connection, add_websocket
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.app import ServerContext
    from sca.infer.server.ws.session_slots import SessionEnd, SessionSlot

__all__ = ["add"]

_PATIENCE_S = 8.0  # of silence that an engine hears before an answer it owes is given up
_HURRY_S = 0.02  # between two chunks of silence until an answer begins; then as long as a chunk lasts


def add(app: "FastAPI", server: "ServerContext") -> None:
    """Add the endpoint."""
    add_websocket(app, server, "/v1/realtime", _Conversation)


class _Conversation(Connection):
    """One connection. The engine's session begins with the first sound it hears, because its prompt may be set before."""

    def __init__(self, server: "ServerContext", websocket: "WebSocket", seat: "SessionSlot") -> None:
        super().__init__(server, websocket, seat)
        self._beta = "realtime" in websocket.headers.get("openai-beta", "")
        self._items = Items(self._send)
        name = server.engine.info.name
        self._config = RealtimeSession(f"sess_{seat.id}", name, server.settings.duplex.system_prompt)
        self._buffer = InputBuffer(self._config.heard)
        self._vad = SileroVad()
        self._edges = self._new_edges()
        self._user_item = _item_id()
        self._owed = False  # the engine is expected to say something
        self._silence = 0  # samples of it since the last sign of life
        self._response: Response | None = None
        self._news = Notifier()
        self._send({"type": "session.created", "session": self._config.document()})

    def _work(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        return self._read, self._feed

    # Out

    def _send(self, document: dict[str, Any]) -> None:
        for message in self._message(document):
            self._outbox.put(message)

    def _message(self, document: dict[str, Any]) -> tuple[str, ...]:
        return write_event(document, beta=self._beta)

    def _error(self, error: RealtimeError, event_id: object = None) -> None:
        self._send(error.event(event_id))

    def _warn(self, reason: "SessionEnd", left_s: float) -> None:
        words = f"the session ends in {left_s:.0f} s ({reason})"
        self._error(RealtimeError(words, "session_expires", kind="session_warning"))

    def _lost(self, ms: float) -> tuple[str, ...]:
        words = f"{ms:.0f} ms of the answer were dropped, because the client read too slowly"
        return self._message(RealtimeError(words, "output_audio_dropped", kind="session_warning").event())

    def _failed(self, message: str) -> None:
        self._error(RealtimeError(message, "engine_failed", kind="server_error"))

    # In

    async def _read(self) -> None:
        while (message := await self._receive()) is not None:
            event_id: object = None
            try:
                event = read_event(message)
                event_id = event.get("event_id")
                self._do(event)
            except RealtimeError as error:
                self._error(error, event_id)
            await self._outbox.room()

    def _do(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self._update(event.get("session"))
            case "input_audio_buffer.append":
                self._buffer.append(event.get("audio"))
                self._wake()
            case "input_audio_buffer.commit":
                self._commit()
            case "input_audio_buffer.clear":
                self._clear()
            case "response.create":
                self._create()
            case "response.cancel":
                self._cancel(event.get("response_id"))
            case "conversation.item.truncate":
                self._items.truncate(event.get("item_id"), event.get("content_index"), event.get("audio_end_ms"))
            case "conversation.item.retrieve":
                self._items.retrieve(event.get("item_id"))
            case "conversation.item.delete":
                self._items.delete(event.get("item_id"))
            case "conversation.item.create":
                raise RealtimeError("the engine hears sound and reads no text; append it", "unsupported_item", "item")
            case kind:
                raise RealtimeError(f"there is no client event {kind[:80]!r} here", "unknown_event", "type")

    def _update(self, session: object) -> None:
        new = self._config.updated(session)
        if self._session is not None and new.instructions != self._config.instructions:
            raise RealtimeError(
                "instructions are set before the first sound", "cannot_update_instructions", "session.instructions"
            )
        old, self._config = self._config, new
        if new.heard != old.heard:
            self._buffer.set_format(new.heard)
            self._wake()
        if new.vad != old.vad:
            self._edges = self._new_edges()
        self._send({"type": "session.updated", "session": new.document()})

    def _new_edges(self) -> SpeechDetector | None:
        vad = self._config.vad
        return None if vad is None else SpeechDetector(self._vad, vad.threshold, vad.silence_duration_ms)

    @property
    def _direct(self) -> bool:
        """Whether the engine hears what comes at once."""
        return self._config.vad is not None and self._config.vad.create_response

    def _commit(self) -> None:
        if self._edges is None:
            self._buffer.flush()
            self._buffer.keep_all()
        self._buffer.commit()
        self._committed()

    def _committed(self) -> None:
        item = {"id": self._user_item, "object": "realtime.item", "type": "message", "role": "user", "status": "completed",
                "content": [{"type": "input_audio", "transcript": None}]}  # fmt: skip
        self._user_item = _item_id()
        committed = {"type": "input_audio_buffer.committed", "item_id": item["id"]}
        self._send(committed)
        self._items.done(item, self._items.add(item))

    def _clear(self) -> None:
        self._buffer.clear()
        self._send({"type": "input_audio_buffer.cleared"})

    def _create(self) -> None:
        if self._response is not None:
            raise RealtimeError(
                f"the response {self._response.id} is going on", "conversation_already_has_active_response"
            )
        self._open_response()
        if not self._direct and self._edges is None:
            self._buffer.keep_all()
        self._owe()

    def _cancel(self, response_id: object) -> None:
        response = self._response
        if response is None or response_id not in (None, response.id):
            raise RealtimeError("there is no such response to cancel", "response_cancel_not_active")
        self._cut("client_cancelled")

    def _cut(self, reason: Any) -> None:
        """Cut the response off, by whoever wants it."""
        response, self._response = self._response, None
        self._owed = False
        if self._session is not None:
            self._session.interrupt()  # drops the sound that was not sent yet
        if response is not None:
            response.finish("cancelled", reason)
        self._seat.busy = False

    # What the engine hears

    def _owe(self) -> None:
        self._owed, self._silence = True, 0
        self._wake()

    def _wake(self) -> None:
        self._news.notify_all()

    async def _feed(self) -> None:
        chunk = self._grid.heard_samples
        while True:
            if self._silence > _PATIENCE_S * HEARD_HZ:
                self._give_up()
            if self._buffer.fresh and self._edges is not None:
                await self._listen(self._buffer.look(chunk))
            elif self._buffer.kept and self._may_hear:
                await self._hear(self._buffer.hear())
            elif self._owes:
                await self._wait(self._pause_s)
                if not (self._buffer.fresh and self._edges is not None) and self._owes:
                    await self._hush(np.zeros(chunk, np.float32))
            else:
                await self._news.wait()

    @property
    def _may_hear(self) -> bool:
        return self._direct or self._response is not None

    @property
    def _owes(self) -> bool:
        speaking = self._direct and self._edges is not None and self._edges.speaking
        return speaking or self._owed or self._response is not None

    @property
    def _pause_s(self) -> float:
        begun = self._response is not None and self._response.turn_id is not None
        return float(self._grid.chunk_s) if begun or self._direct else _HURRY_S

    async def _wait(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._news.wait()

    async def _hush(self, silence: np.ndarray) -> None:
        """The client sends nothing: the engine hears that, and so does the VAD."""
        if self._direct:
            self._buffer.hush(silence)
            await self._listen(silence)
        else:
            self._silence += len(silence)
            await self._hear(silence)

    def _give_up(self) -> None:
        self._owed, self._silence = False, 0
        response, self._response = self._response, None
        if response is None:
            return
        if response.turn_id is not None:
            response.finish("completed")
        else:
            message = f"the engine said nothing within {_PATIENCE_S:g} s"
            response.finish("failed", error={"type": "server_error", "code": "no_answer", "message": message})
        self._seat.busy = False

    async def _listen(self, samples: np.ndarray) -> None:
        """Through the VAD, to the engine or to what is kept for it."""
        assert self._edges is not None
        for edge in self._edges.push(samples):
            self._edge(edge)
        if self._direct:
            self._silence = 0 if self._edges.speaking else self._silence + len(samples)
            await self._hear(samples)
        else:
            self._buffer.keep(samples)
            await anyio.lowlevel.checkpoint()

    def _edge(self, edge: SpeechEdge) -> None:
        vad = self._config.vad
        assert vad is not None
        ms = edge.sample * 1000 // HEARD_HZ
        if edge.kind == "started":
            start_ms = max(0, ms - vad.prefix_padding_ms)
            self._send(
                {"type": "input_audio_buffer.speech_started", "audio_start_ms": start_ms, "item_id": self._user_item}
            )
            if vad.interrupt_response and self._response is not None:
                self._cut("turn_detected")
            return
        self._send({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": ms, "item_id": self._user_item})
        self._buffer.turn_over()
        self._committed()
        if self._direct:
            self._owe()

    async def _hear(self, samples: np.ndarray) -> None:
        if self._source is None:
            self._source = self._begin(self._config.instructions)
        await self._source.put(samples)

    # The answer

    def _open_response(self) -> Response:
        self._response = Response(self._send, self._items, self._config.said)
        self._seat.busy = True
        return self._response

    def _spoken(self, frame: AudioOutput) -> tuple[str, ...]:
        """The message of a frame; what announces it is sent before."""
        response = self._response
        if response is not None and response.turn_id not in (None, frame.turn_id):
            response.finish("completed")  # an engine that begins a turn has ended the one before
            response = None
        if response is None:
            response = self._open_response()
        self._silence = 0
        delta = response.say(frame.audio_bytes, frame.text_log, frame.turn_id)
        return () if delta is None else self._message(delta)

    def on_control(self, frame: ControlFrame) -> None:
        """A turn ended, or the engine cut itself off."""
        response = self._response
        if response is None or response.turn_id is None or response.turn_id > getattr(frame, "turn_id", -1):
            return
        match frame:
            case TurnEnd():
                response.finish("completed")
            case Interrupt():
                response.finish("cancelled", "turn_detected")
            case _:
                return
        self._response, self._owed, self._seat.busy = None, False, False


def _item_id() -> str:
    return f"item_{secrets.token_hex(12)}"
