"""`WS /v1/realtime`: the OpenAI Realtime protocol over a live session, for standard clients.

`EngineInput` feeds the engine and takes the turns; this module has the events of the client and the responses.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from sca.audio.vad import shared_vad
from sca.infer.frames import (
    AudioOutput,
    ControlFrame,
    ErrorFrame,
    Interrupt,
    Lag,
    Signal,
    TurnEnd,
    UserText,
    WrittenEnd,
    WrittenText,
)
from sca.infer.requests import AddMessage, CancelAnswer, RemoveMessage, Request
from sca.infer.server.protocols.realtime.beta import is_beta
from sca.infer.server.protocols.realtime.client_secrets import first_config
from sca.infer.server.protocols.realtime.engine_input import EngineInput
from sca.infer.server.protocols.realtime.events import Event, RealtimeError, encode_event, parse_event, warning_event
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer, WaitingRequests
from sca.infer.server.protocols.realtime.items import ConversationItems, new_item_id, read_item
from sca.infer.server.protocols.realtime.response_request import chat_tool_choice, configuration, read_request
from sca.infer.server.protocols.realtime.responses import Responses
from sca.infer.server.protocols.realtime.semantic_detector import new_detector
from sca.infer.server.ws.connection import Connection, add_websocket
from sca.infer.server.ws.resumable_socket import ClientSocket
from sca.infer.server.ws.stream_io import NetworkSource
from sca.infer.turn.policy import ThresholdSchedule
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI

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

    def __init__(
        self,
        context: "ServerContext",
        websocket: ClientSocket,
        slot: "SessionSlot",
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Create the connection.

        Args:
            context: The state of the server.
            websocket: The socket, accepted.
            slot: The slot of the session.
            settings: What the request asks for: the `session` of a `session.update`.

        Raises:
            RealtimeError: The settings are not valid.
        """
        super().__init__(context, websocket, slot)
        self._beta = is_beta(websocket.headers, websocket.scope["subprotocols"])
        self._items = ConversationItems(self._send)
        self._config = first_config(context, slot.id, websocket.scope, settings)
        self._buffer = InputBuffer(self._config.input_format)
        self._vad = shared_vad()
        self._waiting = WaitingRequests()
        info, serve = context.engine.info, context.settings.serve
        patience_s = serve.answer_patience_s
        if not info.answers_in_background:
            patience_s = min(patience_s, _MAX_STEPPED_S)
        self._input = EngineInput(self._buffer, self, info, self._grid, stall_s=serve.stall_s, patience_s=patience_s)
        self._set_detection()
        self._user_item_id = new_item_id()
        self._responses = Responses(self._send, self._items, lambda: self._config, self._on_response_change)
        self._configured = self._config  # what the engine knows
        self._send({"type": "session.created", "session": self._config.document()})
        self._report_voice(None)

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
                if kind != "input_audio_buffer.append":
                    self._waiting.add(len(message), is_waiting=self._input.is_waiting)
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
                self._create_response(event.get("response"))
            case "response.cancel":
                self._cancel_response(event.get("response_id"))
            case "conversation.item.truncate":
                self._truncate(event.get("item_id"), event.get("content_index"), event.get("audio_end_ms"))
            case "conversation.item.retrieve":
                self._items.retrieve(event.get("item_id"))
            case "conversation.item.delete":
                self._delete_item(event.get("item_id"))
            case "conversation.item.create":
                self._create_item(event.get("item"))
            case _:
                raise RealtimeError(f"unknown client event {kind[:80]!r}", "unknown_event", "type")

    def _truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> None:
        turn_id = self._items.truncate(item_id, content_index, audio_end_ms)
        if turn_id is not None and self._session is not None and isinstance(audio_end_ms, int):
            self._session.set_played(turn_id, audio_end_ms * SPOKEN_HZ // 1000)

    def _update(self, session: object) -> None:
        new, ignored = self._config.updated(session)
        chat_tool_choice(new.tool_choice)
        old = self._config
        if new.voice != old.voice and self._responses.has_spoken:
            raise RealtimeError(
                f"the voice {old.voice} has spoken, and stays in this session",
                "cannot_update_voice",
                "session.audio.output.voice",
            )
        self._config = new
        if new.input_format != old.input_format:
            self._buffer.set_format(new.input_format)
            self._input.notify()
        if new.turn_detection != old.turn_detection:
            self._set_detection()
        self._send({"type": "session.updated", "session": new.document()})
        name = new.engine.name
        if ignored:
            text = f"the engine {name} does not support: {', '.join(ignored)}; the rest of the update holds"
            self._send(warning_event("unsupported_settings", text, f"session.{ignored[0]}"))
        self._report_voice(old.replaced_voice)
        self._configure()

    def _report_voice(self, reported: str | None) -> None:
        """Warn about a voice of OpenAI that was replaced, once for each name."""
        name, used = self._config.replaced_voice, self._config.voice
        if name not in (None, reported):
            voices = ", ".join(self._config.engine.voices)
            text = f"the voice {name} does not exist here, and {used} speaks; the voices are: {voices}"
            self._send(warning_event("voice_replaced", text, "session.audio.output.voice"))

    def _configure(self) -> None:
        """Pass new settings to the engine, if its session has begun or if its start does not need them."""
        old, new = self._configured, self._config
        has_begun = self._session is not None
        has_instructions = new.instructions != old.instructions and has_begun
        has_voice = (new.voice, new.generation) != (old.voice, old.generation) and has_begun
        if new.engine.takes_text:
            if (
                has_instructions
                or has_voice
                or (new.tools, new.tool_choice, new.max_tokens)
                != (
                    old.tools,
                    old.tool_choice,
                    old.max_tokens,
                )
            ):
                self._tell(configuration(new, instructions=has_instructions))
        elif has_instructions or has_voice:
            self._restart_engine()
        self._configured = new

    def _restart_engine(self) -> None:
        """Start the engine again with other settings, unless it has answered with the earlier ones."""
        if not self._responses.has_answered:
            self._drop_session()
            self._input.restart()
            return
        name = self._config.engine.name
        text = f"the engine {name} has answered with the earlier settings, and keeps them in this session"
        self._send(warning_event("instructions_too_late", text, "session.instructions"))

    def _tell(self, request: Request) -> None:
        self._buffer.tell(request)
        self._input.notify()

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

    def _create_item(self, given: object) -> None:
        read = read_item(given)
        self._items.add_complete(read.item)
        unsupported = list(read.unsupported)
        if read.message is not None and self._config.engine.takes_text:
            self._tell(AddMessage(read.message, str(read.item["id"])))
        elif read.message is not None and read.message.role == "system" and self._session is None:
            self._config = self._config.with_more_instructions(read.message.text)
        elif read.message is not None:
            unsupported.append(f"items of type {read.item['type']}")
        if unsupported:
            name = self._config.engine.name
            text = f"the item is in the conversation, but the engine {name} does not take: {', '.join(unsupported)}"
            self._send(warning_event("unsupported_item", text, "item"))

    def _delete_item(self, item_id: object) -> None:
        self._items.delete(item_id)
        if self._config.engine.takes_text and isinstance(item_id, str):
            self._tell(RemoveMessage(item_id))

    def _create_response(self, given: object) -> None:
        request = read_request(given, self._config, self._items)
        if self._responses.create(request):
            self._tell(request.answer)
        else:
            self._buffer.request_answer(request.answer if self._config.engine.takes_text else None)
            self._input.notify()
        if request.ignored:
            text = f"the response does not obey: {', '.join(request.ignored)}"
            self._send(warning_event("unsupported_parameter", text, f"response.{request.ignored[0]}"))

    def _cancel_response(self, response_id: object) -> None:
        if isinstance(response_id, str) and self._responses.cancel_aside(response_id):
            self._tell(CancelAnswer(response_id))
            return
        current = self._responses.current
        if current is None or response_id not in (None, current.id):
            raise RealtimeError("Cancellation failed: no active response found", "response_cancel_not_active")
        self._interrupt("client_cancelled")

    def _interrupt(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        self._input.cancel()
        self._responses.cancel(reason)
        if self._session is not None:
            by: Literal["listener", "door"] = "listener" if reason == "turn_detected" else "door"
            self._session.interrupt(by)  # removes unsent audio from the send queue
        self._slot.speaking = False

    # The engine's input: `EngineInputListener`

    @property
    def is_responding(self) -> bool:
        """Whether a response is in progress."""
        return self._responses.current is not None

    @property
    def is_speaking(self) -> bool:
        """Whether the engine speaks or writes it already."""
        return self._responses.current is not None and self._responses.current.has_begun

    @property
    def awaits_text(self) -> bool:
        """Whether the engine owes a written response beside the conversation, or the words of a turn."""
        return self._responses.has_asides or (self._config.engine.takes_text and self._items.awaits_transcript)

    def automatic_answer(self) -> Signal:
        """Return the request for an answer to a turn that the server has detected."""
        return self._responses.automatic_answer()

    def start_source(self) -> NetworkSource:
        """Start the session of the engine."""
        turns: Literal["found", "given"] = "given" if self._context.engine.info.follows_turns else "found"
        config = self._config
        self._source = self._start_session(config.instructions, turns, config.chosen_voice, config.generation)
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
        self._responses.give_up(message)

    # The response

    def _on_response_change(self, change: Literal["started", "continued", "ended"]) -> None:
        if change == "ended":
            self._slot.speaking = False
            self._input.end_response()
            return
        self._slot.speaking = self._responses.current is not None
        self._input.note_answer()

    @override
    def _encode(self, frame: AudioOutput) -> tuple[str, ...]:
        event = self._responses.add_audio(frame)
        return () if event is None else self._messages(event)

    @override
    def on_user_text(self, frame: UserText) -> None:
        if not frame.is_final:
            self._items.transcribe_partly(frame.text, self._user_item_id)
        elif frame.text or self._items.awaits_transcript:
            self._items.transcribe(frame.text)

    @override
    def on_written(self, frame: WrittenText | WrittenEnd) -> None:
        self._responses.add_written(frame)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        match frame:
            case ErrorFrame(fatal=False):
                self._input.note_problem(frame.message)
                self._responses.note_problem(frame.message)
            case Lag(dropped_chunks=dropped) if dropped:
                ms = round(dropped * float(self._grid.chunk_s) * 1000)
                text = f"{ms} ms of the input audio were dropped, because the engine is too slow"
                self._send(warning_event("input_audio_dropped", text))
            case TurnEnd():
                self._responses.end_turn(frame)
            case Interrupt():
                self._responses.interrupt_turn(frame.turn_id)
