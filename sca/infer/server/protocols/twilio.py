"""`WS /twilio`: a telephone call in the protocol of Twilio's media streams (`<Connect><Stream>`).

Received events: `connected`, `start`, `media`, `mark`, `dtmf`, `stop`. Sent events: `media`, `mark`, `clear`. The audio
is µ-law at 8 kHz in base64, sent in frames of 20 ms. https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from typing_extensions import override

from sca.errors import ConfigError
from sca.infer.frames import AudioOutput, ControlFrame, Interrupt, TurnEnd
from sca.infer.generation import read_generation_texts
from sca.infer.server.core.limits import MAX_PROMPT_CHARACTERS, shortened
from sca.infer.server.core.security import twilio_signature
from sca.infer.server.ws.audio_codec import WIRE_HZ, WireDecoder, WireEncoder
from sca.infer.server.ws.connection import Connection, add_websocket, logger

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.core.sessions import SessionSlot
    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]

_PATH = "/twilio"
_FRAME_MS = 20
_FRAME_BYTES = WIRE_HZ["pcmu"] * _FRAME_MS // 1000
_SILENCE = b"\xff"  # 0 in µ-law


class _Message(BaseModel):
    # Twilio adds fields from time to time; its numbers are strings.
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class _Format(_Message):
    encoding: Literal["audio/x-mulaw"]
    sample_rate: Literal[8000] = 8000
    channels: Literal[1] = 1


class _Start(_Message):
    stream_sid: str = Field(min_length=1, max_length=200)
    custom_parameters: dict[str, str] = {}
    media_format: _Format = _Format(encoding="audio/x-mulaw")


class _Media(_Message):
    payload: str
    track: str = "inbound"


class _Mark(_Message):
    name: str


class _StartEvent(_Message):
    event: Literal["start"]
    start: _Start


class _MediaEvent(_Message):
    event: Literal["media"]
    media: _Media


class _MarkEvent(_Message):
    event: Literal["mark"]
    mark: _Mark


class _OtherEvent(_Message):
    event: Literal["connected", "dtmf", "stop"]


_Event = _StartEvent | _MediaEvent | _MarkEvent | _OtherEvent
_EVENTS: TypeAdapter[_Event] = TypeAdapter(Annotated[_Event, Field(discriminator="event")])


class _BadMessageError(Exception):
    """A message that cannot be read. The text is for the client that sent it."""


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoint.

    If the settings contain Twilio's auth token, Twilio's signature is accepted instead of the key.
    """
    add_websocket(app, context, _PATH, _TwilioConnection)
    serve = context.settings.serve
    if serve.twilio_auth_token is not None:
        token = serve.twilio_auth_token.get_secret_value()
        context.signature_checks[_PATH] = partial(_has_signature, token, serve.twilio_url)


def _has_signature(token: str, url: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request was signed by Twilio with an auth token."""
    signed = url or f"wss://{headers.get('host', '')}{_PATH}"
    given = headers.get("x-twilio-signature", "").encode("latin-1", "replace")
    return hmac.compare_digest(given, twilio_signature(signed, token).encode())


class _TwilioConnection(Connection):
    """One call. Its session starts with `start`. A turn has been played when the mark after its audio comes back."""

    def __init__(self, context: "ServerContext", websocket: "WebSocket", slot: "SessionSlot") -> None:
        super().__init__(context, websocket, slot)
        self._stream_sid = self._awaited_mark = ""
        self._decoder = WireDecoder("pcmu")
        self._start_turn()

    def _start_turn(self) -> None:
        self._encoder, self._partial_frame = WireEncoder("pcmu"), b""

    @override
    def _client_tasks(self) -> Sequence[Callable[[], Coroutine[object, None, None]]]:
        return (self._read_messages,)

    # Receiving

    async def _read_messages(self) -> None:
        while (message := await self._receive()) is not None:
            try:
                event = _parse(message)
                if event is not None and await self._handle(event):
                    return
            except _BadMessageError as error:
                self._end("bad_message", str(error))
                return
            await self._send_queue.wait_for_room()

    async def _handle(self, event: _Event) -> bool:
        """Handle an event and return whether it is the last one."""
        match event:
            case _StartEvent(start=start):
                self._start(start)
            case _MediaEvent(media=media):
                if self._source is None:
                    raise _BadMessageError("media comes after start")
                if media.track == "inbound":  # the other track is the audio that we sent
                    await self._source.put(self._decoder.push(_decode_base64(media.payload)))
            case _MarkEvent(mark=mark):
                self._slot.speaking = self._slot.speaking and mark.name != self._awaited_mark
            case _OtherEvent(event="stop"):
                if self._source is None:
                    raise _BadMessageError("stop comes after start")
                await self._source.put(self._decoder.flush())
                self._source.close()
                return True
            case _:  # connected; and dtmf, which engines cannot use
                pass
        return False

    def _start(self, start: _Start) -> None:
        if self._source is not None:
            raise _BadMessageError("start comes once")
        prompt = start.custom_parameters.get("prompt", self._context.settings.duplex.system_prompt)
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise _BadMessageError(f"the prompt is longer than {MAX_PROMPT_CHARACTERS} characters")
        voice = start.custom_parameters.get("voice")
        if voice is not None and (problem := self._context.engine.info.voice_problem(voice)):
            raise _BadMessageError(problem)
        try:
            generation = read_generation_texts(start.custom_parameters)
        except ConfigError as error:
            raise _BadMessageError(shortened(error.message)) from error
        if (unfollowed := self._context.engine.info.generation_problem(generation)) is not None:
            logger.warning("session %s: %s", self._slot.id, unfollowed)  # the protocol has no message for it
        self._stream_sid = start.stream_sid
        self._source = self._start_session(prompt, voice=voice, generation=generation)

    # Sending

    def _message(self, event: str, **fields: object) -> str:
        return json.dumps({"event": event, "streamSid": self._stream_sid, **fields})

    def _media_messages(self, data: bytes) -> list[str]:
        """Return the messages of all whole frames. The rest is kept for the next call."""
        data = self._partial_frame + data
        whole = len(data) // _FRAME_BYTES * _FRAME_BYTES
        self._partial_frame = data[whole:]
        return [self._media_message(data[start : start + _FRAME_BYTES]) for start in range(0, whole, _FRAME_BYTES)]

    def _media_message(self, frame: bytes) -> str:
        return self._message("media", media={"payload": base64.b64encode(frame).decode()})

    @override
    def _encode(self, frame: AudioOutput) -> list[str]:
        self._slot.speaking, self._awaited_mark = True, ""
        return self._media_messages(self._encoder.push(frame.audio_bytes))

    @override
    def _on_flush(self) -> None:
        self._start_turn()
        self._send_queue.put(self._message("clear"))

    @override
    def on_control(self, frame: ControlFrame) -> None:
        match frame:
            case TurnEnd():
                self._end_turn(frame.turn_id)
            case Interrupt():
                self._slot.speaking = False
            case _:  # the protocol has no message for it
                pass

    def _end_turn(self, turn_id: int) -> None:
        messages = self._media_messages(self._encoder.flush())
        if self._partial_frame:
            messages.append(self._media_message(self._partial_frame.ljust(_FRAME_BYTES, _SILENCE)))
        self._start_turn()
        if messages:
            self._send_queue.put(*messages, ms=len(messages) * _FRAME_MS)
        self._awaited_mark = f"turn-{turn_id}"
        self._send_queue.put(self._message("mark", mark={"name": self._awaited_mark}))


def _parse(message: str | bytes) -> _Event | None:
    """Parse a message.

    Returns:
        The event; None for an unknown kind of event, which Twilio may add in the future.

    Raises:
        _BadMessageError: The message is not a valid event.
    """
    if isinstance(message, bytes):
        raise _BadMessageError("this protocol has text messages only; send audio as base64 in a media event")
    try:
        return _EVENTS.validate_json(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        if first["type"] == "json_invalid":
            raise _BadMessageError("the message is not JSON") from error
        field = ".".join(map(str, first["loc"])) or "event"
        raise _BadMessageError(shortened(f"{field}: {first['msg'].lower()}")) from error


def _decode_base64(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _BadMessageError("media.payload is not base64") from error
