"""`WS /v1/realtime`: the OpenAI Realtime protocol over a live session, for standard clients.

The engine listens continuously and decides when to speak. With turn detection it gets appended audio at once, and the
client gets the events of the server's VAD. With `turn_detection: null` or `create_response: false`, audio is kept until
`response.create`. An engine advances only with its input: while a response is expected and the client sends nothing,
the engine gets silence.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Literal

import anyio
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.vad import SileroVad
from sca.infer.frames import AudioOutput, ControlFrame, Interrupt, TurnEnd, UserText
from sca.infer.notifier import Notifier
from sca.infer.server.protocols.realtime.beta import is_beta
from sca.infer.server.protocols.realtime.client_secrets import first_config
from sca.infer.server.protocols.realtime.events import Event, RealtimeError, encode_event, parse_event, warning_event
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer
from sca.infer.server.protocols.realtime.response import ConversationItems, Response, new_item_id
from sca.infer.server.protocols.realtime.speech_detector import SpeechDetector, SpeechEvent
from sca.infer.server.ws.connection import Connection, add_websocket
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.core.sessions import SessionEnd, SessionSlot
    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]

_MAX_SILENCE_S = 8.0  # that the engine gets before an expected response is given up
_MAX_BACKGROUND_S = 30.0  # the same for an engine whose answers take time
_TURN_END_S = 2.0  # of silence, after which an engine has found the end of a turn
_FAST_INTERVAL_S = 0.02  # between two chunks of silence until the response starts; then the duration of a chunk


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoint."""
    context.client_secret_paths.add("/v1/realtime")
    add_websocket(app, context, "/v1/realtime", _RealtimeConnection)


class _RealtimeConnection(Connection):
    """One client. The session starts with the first audio, because the client may set its prompt before."""

    def __init__(self, context: "ServerContext", websocket: "WebSocket", slot: "SessionSlot") -> None:
        super().__init__(context, websocket, slot)
        self._beta = is_beta(websocket.headers, websocket.scope["subprotocols"])
        self._items = ConversationItems(self._send)
        self._config = first_config(context, slot.id, websocket.scope)
        self._buffer = InputBuffer(self._config.input_format)
        self._vad = SileroVad()
        self._detector = self._new_detector()
        self._user_item_id = new_item_id()
        self._response_expected = False
        self._silent_samples = 0  # that the engine got since the last sign of a response
        self._response: Response | None = None
        self._changed = Notifier()
        self._send({"type": "session.created", "session": self._config.document()})

    @override
    def _client_tasks(self) -> Sequence[Callable[[], Coroutine[object, None, None]]]:
        return self._read_messages, self._feed_engine

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
                self._changed.notify_all()
            case "input_audio_buffer.commit":
                self._commit()
            case "input_audio_buffer.clear":
                self._buffer.clear()
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
            self._changed.notify_all()
        if new.turn_detection != old.turn_detection:
            self._detector = self._new_detector()
        self._send({"type": "session.updated", "session": new.document()})
        if ignored:
            text = f"the engine {new.engine.name} does not support: {', '.join(ignored)}; the rest of the update holds"
            self._send(warning_event("unsupported_settings", text, f"session.{ignored[0]}"))

    def _new_detector(self) -> SpeechDetector | None:
        detection = self._config.turn_detection
        if detection is None:
            return None
        return SpeechDetector(self._vad, detection.threshold, detection.silence_duration_ms)

    @property
    def _is_streaming(self) -> bool:
        """Whether the engine gets appended audio at once."""
        return self._config.turn_detection is not None and self._config.turn_detection.create_response

    def _commit(self) -> None:
        if self._detector is None:
            self._buffer.flush()
            self._buffer.keep_all()
        self._buffer.commit()
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
        if not self._is_streaming and self._detector is None:
            self._buffer.keep_all()
        self._expect_response()

    def _cancel_response(self, response_id: object) -> None:
        if self._response is None or response_id not in (None, self._response.id):
            raise RealtimeError("no such response is in progress", "response_cancel_not_active")
        self._interrupt("client_cancelled")

    def _interrupt(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        response, self._response = self._response, None
        self._response_expected = False
        if self._session is not None:
            self._session.interrupt()  # removes unsent audio from the send queue
        if response is not None:
            response.finish("cancelled", reason)
        self._slot.speaking = False

    # The engine's input

    def _expect_response(self) -> None:
        self._response_expected, self._silent_samples = True, 0
        self._changed.notify_all()

    async def _feed_engine(self) -> None:
        chunk = self._grid.heard_samples
        while True:
            if self._silent_samples > self._most_silence_s * HEARD_HZ:
                self._give_up_response()
            if self._has_undetected:
                await self._detect(self._buffer.take_new(chunk))
            elif self._buffer.has_kept and (self._is_streaming or self._response is not None):
                await self._put(self._buffer.take_kept())
            elif self._needs_silence:
                with anyio.move_on_after(self._silence_interval_s):
                    await self._changed.wait()
                if self._needs_silence and not self._has_undetected:
                    await self._feed_silence(np.zeros(chunk, np.float32))
            else:
                await self._changed.wait()

    @property
    def _has_undetected(self) -> bool:
        """Whether there is audio for the detector."""
        return self._buffer.has_new and self._detector is not None

    @property
    def _needs_silence(self) -> bool:
        """Whether the engine needs input to continue, although the client sends nothing."""
        user_speaking = self._is_streaming and self._detector is not None and self._detector.speaking
        return user_speaking or self._response_expected or self._response is not None

    @property
    def _most_silence_s(self) -> float:
        return _MAX_BACKGROUND_S if self._context.engine.info.answers_in_background else _MAX_SILENCE_S

    @property
    def _silence_interval_s(self) -> float:
        started = self._response is not None and self._response.turn_id is not None
        # Silence ends the turn of the user; what the engine then does in the background takes time and not silence.
        thinks = self._context.engine.info.answers_in_background and self._silent_samples > _TURN_END_S * HEARD_HZ
        return float(self._grid.chunk_s) if started or thinks or self._is_streaming else _FAST_INTERVAL_S

    async def _feed_silence(self, silence: NDArray[np.float32]) -> None:
        if self._is_streaming:
            self._buffer.count_silence(len(silence))
            await self._detect(silence)
        else:
            self._silent_samples += len(silence)
            await self._put(silence)

    def _give_up_response(self) -> None:
        self._response_expected, self._silent_samples = False, 0
        response, self._response = self._response, None
        if response is None:
            return
        if response.turn_id is not None:
            response.finish("completed")
        else:
            message = f"the engine did not respond within {self._most_silence_s:g} s"
            response.finish("failed", error={"type": "server_error", "code": "no_answer", "message": message})
        self._slot.speaking = False

    async def _detect(self, samples: NDArray[np.float32]) -> None:
        """Pass audio through the detector, then to the engine or to the audio kept for it."""
        assert self._detector is not None
        for event in self._detector.push(samples):
            self._on_speech_event(event)
        if self._is_streaming:
            self._silent_samples = 0 if self._detector.speaking else self._silent_samples + len(samples)
            await self._put(samples)
        else:
            self._buffer.keep(samples)
            await anyio.lowlevel.checkpoint()

    def _on_speech_event(self, event: SpeechEvent) -> None:
        detection = self._config.turn_detection
        assert detection is not None
        ms = event.sample * 1000 // HEARD_HZ
        if event.kind == "started":
            start_ms = max(0, ms - detection.prefix_padding_ms)
            started = {"audio_start_ms": start_ms, "item_id": self._user_item_id}
            self._send({"type": "input_audio_buffer.speech_started", **started})
            if detection.interrupt_response and self._response is not None:
                self._interrupt("turn_detected")
            return
        stopped = {"audio_end_ms": ms, "item_id": self._user_item_id}
        self._send({"type": "input_audio_buffer.speech_stopped", **stopped})
        self._buffer.end_turn()
        self._add_user_item()
        if self._is_streaming:
            self._expect_response()

    async def _put(self, samples: NDArray[np.float32]) -> None:
        if self._source is None:
            self._source = self._start_session(self._config.instructions)
        await self._source.put(samples)

    # The response

    def _start_response(self) -> Response:
        self._response = Response(self._send, self._items, self._config.output_format)
        self._slot.speaking = True
        return self._response

    @override
    def _encode(self, frame: AudioOutput) -> tuple[str, ...]:
        response = self._response
        if response is not None and response.turn_id not in (None, frame.turn_id):
            response.finish("completed")  # an engine that starts a turn has ended the turn before
            response = None
        if response is None:
            response = self._start_response()
        self._silent_samples = 0
        event = response.add_audio(frame.audio_bytes, frame.text_log, frame.turn_id)
        return () if event is None else self._messages(event)

    @override
    def on_user_text(self, frame: UserText) -> None:
        if frame.is_final and frame.text:
            self._items.transcribe(frame.text)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        response = self._response
        if response is None or response.turn_id is None or response.turn_id > frame.turn_id:
            return
        match frame:
            case TurnEnd():
                response.finish("completed")
            case Interrupt():
                response.finish("cancelled", "turn_detected")
            case _:
                return
        self._response, self._response_expected, self._slot.speaking = None, False, False
