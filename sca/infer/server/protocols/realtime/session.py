"""`WS /v1/realtime`: the OpenAI Realtime protocol over a live session, for standard clients.

`EngineInput` feeds the engine and takes the turns; this module has the events of the client and the responses.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from sca.audio.vad import SileroVad
from sca.infer.frames import AudioOutput, ControlFrame, ErrorFrame, Interrupt, Lag, TurnEnd, UserText
from sca.infer.server.protocols.realtime.beta import is_beta
from sca.infer.server.protocols.realtime.client_secrets import first_config
from sca.infer.server.protocols.realtime.engine_input import EngineInput
from sca.infer.server.protocols.realtime.events import Event, RealtimeError, encode_event, parse_event, warning_event
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer
from sca.infer.server.protocols.realtime.response import ConversationItems, Response, new_item_id
from sca.infer.server.protocols.realtime.semantic_detector import new_detector
from sca.infer.server.ws.connection import Connection, add_websocket
from sca.infer.server.ws.stream_io import NetworkSource
from sca.infer.turn.policy import ThresholdSchedule
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.core.sessions import SessionEnd, SessionSlot
    from sca.infer.server.core.state import ServerContext

__all__ = ["RealtimeConnection", "add"]

_MAX_STEPPED_S = 8.0  # that an engine which answers within its steps may take


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoint."""
    context.client_secret_paths.add("/v1/realtime")
    context.load_turn_model()
    add_websocket(app, context, "/v1/realtime", RealtimeConnection)


class RealtimeConnection(Connection):
    """One client. The session starts with the first audio, because the client may set its prompt before."""

    def __init__(self, context: "ServerContext", websocket: "WebSocket", slot: "SessionSlot") -> None:
        super().__init__(context, websocket, slot)
        self._beta = is_beta(websocket.headers, websocket.scope["subprotocols"])
        self._items = ConversationItems(self._send)
        self._config = first_config(context, slot.id, websocket.scope)
        self._buffer = InputBuffer(self._config.input_format)
        self._vad = SileroVad()
        info, serve = context.engine.info, context.settings.serve
        patience_s = serve.answer_patience_s
        if not info.answers_in_background:
            patience_s = min(patience_s, _MAX_STEPPED_S)
        self._input = EngineInput(self._buffer, self, info, self._grid, stall_s=serve.stall_s, patience_s=patience_s)
        self._set_detection()
        self._user_item_id = new_item_id()
        self._response: Response | None = None
        self._send({"type": "session.created", "session": self._config.document()})

    @override
    def _client_tasks(self) -> Sequence[Callable[[], Coroutine[object, None, None]]]:
        return self._read_messages, self._input.run

    # Sending

    def _send(self, event: Event) -> None:
        for message in self._messages(event):
            self._send_queue.put(message)

    def _messages(self, event: Event) -> tuple[str, ...]:
        return encode_event(event, beta=self._beta)

    @override
    def _on_limit_warning(self, reason: "SessionEnd", left_s: float) -> None:
        text = f"the session ends in {left_s:.0f} s ({reason})"
        self._send(warning_event("session_expires", text))

    @override
    def _gap_messages(self, ms: float) -> tuple[str, ...]:
        text = f"{ms:.0f} ms of the response were dropped, because the client read too slowly"
        return self._messages(warning_event("output_audio_dropped", text))

    @override
    def _on_failure(self, message: str) -> None:
        self._send(RealtimeError(message, "engine_failed", kind="server_error").event())

    # Receiving

    async def _read_messages(self) -> None:
        while (message := await self._receive()) is not None:
            event_id: object = None
            try:
                kind, event = parse_event(message)
                event_id = event.get("event_id")
                self._handle(kind, event)
            except RealtimeError as error:
                self._send(error.event(event_id))
            await self._send_queue.wait_for_room()

    def _handle(self, kind: str, event: Event) -> None:
        match kind:
            case "session.update":
                self._update(event.get("session"))
            case "input_audio_buffer.append":
                self._buffer.append(event.get("audio"))
                self._input.notify()
            case "input_audio_buffer.commit":
                self._commit()
            case "input_audio_buffer.clear":
                self._buffer.clear()
                self._input.notify()
                self._send({"type": "input_audio_buffer.cleared"})
            case "response.create":
                self._create_response()
            case "response.cancel":
                self._cancel_response(event.get("response_id"))
            case "conversation.item.truncate":
                self._truncate(event.get("item_id"), event.get("content_index"), event.get("audio_end_ms"))
            case "conversation.item.retrieve":
                self._items.retrieve(event.get("item_id"))
            case "conversation.item.delete":
                self._items.delete(event.get("item_id"))
            case "conversation.item.create":
                raise RealtimeError("the engine takes audio, not text; append it", "unsupported_item", "item")
            case _:
                raise RealtimeError(f"unknown client event {kind[:80]!r}", "unknown_event", "type")

    def _truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> None:
        turn_id = self._items.truncate(item_id, content_index, audio_end_ms)
        if turn_id is not None and self._session is not None and isinstance(audio_end_ms, int):
            self._session.set_played(turn_id, audio_end_ms * SPOKEN_HZ // 1000)

    def _update(self, session: object) -> None:
        new, ignored = self._config.updated(session)
        if self._session is not None and new.instructions != self._config.instructions:
            raise RealtimeError(
                "instructions must be set before the first audio", "cannot_update_instructions", "session.instructions"
            )
        old, self._config = self._config, new
        if new.input_format != old.input_format:
            self._buffer.set_format(new.input_format)
            self._input.notify()
        if new.turn_detection != old.turn_detection:
            self._set_detection()
        self._send({"type": "session.updated", "session": new.document()})
        if ignored:
            text = f"the engine {new.engine.name} does not support: {', '.join(ignored)}; the rest of the update holds"
            self._send(warning_event("unsupported_settings", text, f"session.{ignored[0]}"))

    def _set_detection(self) -> None:
        detection = self._config.turn_detection
        detector = None
        if detection is not None:
            schedule = ThresholdSchedule.from_config(self._context.settings.turn)
            detector = new_detector(self._vad, detection, schedule, self._context.turn_detectors)
        self._input.set_detection(detection, detector)

    def _commit(self) -> None:
        if self._config.turn_detection is None:
            self._buffer.flush()
        self._buffer.commit()
        self._input.notify()
        self._add_user_item()

    def _add_user_item(self) -> None:
        item_id, self._user_item_id = self._user_item_id, new_item_id()
        self._send({"type": "input_audio_buffer.committed", "item_id": item_id})
        self._items.add_user_item(item_id)

    def _create_response(self) -> None:
        if self._response is not None:
            raise RealtimeError(
                f"the response {self._response.id} is in progress", "conversation_already_has_active_response"
            )
        self._start_response()
        self._buffer.request_answer()
        self._input.notify()

    def _cancel_response(self, response_id: object) -> None:
        if self._response is None or response_id not in (None, self._response.id):
            raise RealtimeError("Cancellation failed: no active response found", "response_cancel_not_active")
        self._interrupt("client_cancelled")

    def _interrupt(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        response, self._response = self._response, None
        self._input.cancel()
        if self._session is not None:
            by: Literal["listener", "door"] = "listener" if reason == "turn_detected" else "door"
            self._session.interrupt(by)  # removes unsent audio from the send queue
        if response is not None:
            response.finish("cancelled", reason)
        self._slot.speaking = False

    # The engine's input: `EngineInputListener`

    @property
    def is_responding(self) -> bool:
        """Whether a response is in progress."""
        return self._response is not None

    @property
    def is_speaking(self) -> bool:
        """Whether the engine speaks it already."""
        return self._response is not None and self._response.turn_id is not None

    def start_source(self) -> NetworkSource:
        """Start the session of the engine."""
        turns: Literal["found", "given"] = "given" if self._context.engine.info.follows_turns else "found"
        self._source = self._start_session(self._config.instructions, turns)
        return self._source

    async def wait_until_played(self) -> None:
        """Wait until the audio of all steps so far was sent."""
        if self._session is not None:
            await self._session.wait_until_played()

    def on_speech_started(self, start_ms: int) -> None:
        """Report that the user began to speak."""
        started = {"audio_start_ms": start_ms, "item_id": self._user_item_id}
        self._send({"type": "input_audio_buffer.speech_started", **started})

    def on_speech_stopped(self, end_ms: int) -> None:
        """Report that a turn of the user is over."""
        stopped = {"audio_end_ms": end_ms, "item_id": self._user_item_id}
        self._send({"type": "input_audio_buffer.speech_stopped", **stopped})
        self._add_user_item()

    def on_barge_in(self) -> None:
        """End the response, because the user speaks."""
        self._interrupt("turn_detected")

    def on_no_answer(self, message: str) -> None:
        """End the response, because the engine does not answer."""
        response, self._response = self._response, None
        if response is not None and response.turn_id is not None:
            response.finish("completed")
        elif response is not None:
            error = {"type": "server_error", "code": "no_answer", "message": message}
            response.finish("failed", error=error)
        self._slot.speaking = False
        self._input.end_response()

    # The response

    def _start_response(self) -> Response:
        self._response = Response(self._send, self._items, self._config.output_format)
        self._slot.speaking = True
        self._input.note_answer()
        return self._response

    @override
    def _encode(self, frame: AudioOutput) -> tuple[str, ...]:
        response = self._response
        if response is not None and response.turn_id not in (None, frame.turn_id):
            response.finish("completed")  # an engine that starts a turn has ended the turn before
            response = None
        if response is None:
            response = self._start_response()
        self._input.note_answer()
        event = response.add_audio(frame.audio_bytes, frame.text_log, frame.turn_id)
        return () if event is None else self._messages(event)

    @override
    def on_user_text(self, frame: UserText) -> None:
        if frame.is_final and frame.text:
            self._items.transcribe(frame.text)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        response = self._response
        match frame:
            case ErrorFrame(fatal=False):
                self._input.note_problem(frame.message)
            case Lag(dropped_chunks=dropped) if dropped:
                ms = round(dropped * float(self._grid.chunk_s) * 1000)
                text = f"{ms} ms of the input audio were dropped, because the engine is too slow"
                self._send(warning_event("input_audio_dropped", text))
        if response is None or response.turn_id is None or response.turn_id > frame.turn_id:
            return
        match frame:
            case TurnEnd():
                response.finish("completed")
            case Interrupt():
                response.finish("cancelled", "turn_detected")
            case _:
                return
        self._response, self._slot.speaking = None, False
        self._input.end_response()
