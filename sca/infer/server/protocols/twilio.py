"""`WS /twilio`: a telephone call over a live session, in the words of Twilio's media streams (`<Connect><Stream>`).

In come `connected`, `start`, `media`, `mark`, `dtmf` and `stop`, out go `media`, `mark` and `clear`; sound is µ-law at 8 kHz in
base64, sent in frames of 20 ms. https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from sca.infer.frames import AudioOutput, ControlFrame, Interrupt, TurnEnd
from sca.infer.server.http.access import Headers, Scope
from sca.infer.server.security import twilio_signature
from sca.infer.server.ws.audio_codec import WIRE_HZ, WireDecoder, WireEncoder
from sca.infer.server.ws.endpoint import Connection, add_websocket

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.websockets import WebSocket

    from sca.infer.server.app import ServerContext
    from sca.infer.server.ws.session_slots import SessionSlot

__all__ = ["add"]

_PATH = "/twilio"
_FRAME_MS = 20
_FRAME_BYTES = WIRE_HZ["pcmu"] * _FRAME_MS // 1000
_SILENCE = b"\xff"  # 0 in µ-law


class _Message(BaseModel):
    # Twilio adds fields now and then; numbers come as text.
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
_PROMPT_CHARACTERS = 8000


class _BadMessageError(Exception):
    """A message that cannot be read, in words for its sender."""


def add(app: "FastAPI", server: "ServerContext") -> None:
    """Add the endpoint. With Twilio's auth token in the settings its signature opens it; without, it needs the key like all."""
    add_websocket(app, server, _PATH, _Call)
    serve = server.settings.serve
    if serve.twilio_auth_token is not None:
        server.signed[_PATH] = partial(_signed, serve.twilio_auth_token.get_secret_value(), serve.twilio_url)


def _signed(token: str, url: str, scope: Scope, headers: Headers) -> bool:
    """Whether Twilio asks, for an account with this token."""
    signed = url or f"wss://{headers.get('host', '')}{_PATH}"
    given = headers.get("x-twilio-signature", "").encode("latin-1", "replace")
    return hmac.compare_digest(given, twilio_signature(signed, token).encode())


class _Call(Connection):
    """One call. Its session begins with `start`; a turn counts as said when the mark behind it comes back."""

    def __init__(self, server: "ServerContext", websocket: "WebSocket", seat: "SessionSlot") -> None:
        super().__init__(server, websocket, seat)
        self._sid = self._awaited = ""
        self._heard = WireDecoder("pcmu")
        self._new_turn()

    def _new_turn(self) -> None:
        self._wire, self._rest = WireEncoder("pcmu"), b""

    def _work(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        return (self._read,)

    # In

    async def _read(self) -> None:
        while (message := await self._receive()) is not None:
            try:
                event = _event(message)
                if event is not None and await self._do(event):
                    return
            except _BadMessageError as error:
                self._end("bad_message", str(error))
                return
            await self._outbox.room()

    async def _do(self, event: _Event) -> bool:
        """Do what an event says; True when it is the last."""
        match event:
            case _StartEvent(start=start):
                self._start(start)
            case _MediaEvent(media=media):
                if self._source is None:
                    raise _BadMessageError("media comes after start")
                if media.track == "inbound":  # the other track is what we said
                    await self._source.put(self._heard.push(_decoded(media.payload)))
            case _MarkEvent(mark=mark):
                self._seat.busy = self._seat.busy and mark.name != self._awaited
            case _OtherEvent(event="stop"):
                if self._source is None:
                    raise _BadMessageError("stop comes after start")
                await self._source.put(self._heard.flush())
                self._source.close()
                return True
            case _:  # connected; and keys of the telephone, which no engine here hears
                pass
        return False

    def _start(self, start: _Start) -> None:
        if self._source is not None:
            raise _BadMessageError("start comes once")
        prompt = start.custom_parameters.get("prompt", self._server.settings.duplex.system_prompt)
        if len(prompt) > _PROMPT_CHARACTERS:
            raise _BadMessageError(f"the prompt is longer than {_PROMPT_CHARACTERS} characters")
        self._sid = start.stream_sid
        self._source = self._begin(prompt)

    # Out

    def _message(self, event: str, **values: Any) -> str:
        return json.dumps({"event": event, "streamSid": self._sid, **values})

    def _frames(self, data: bytes) -> list[str]:
        """Whole frames; what is left waits for the next sound."""
        data = self._rest + data
        whole = len(data) // _FRAME_BYTES * _FRAME_BYTES
        self._rest = data[whole:]
        return [self._media(data[at : at + _FRAME_BYTES]) for at in range(0, whole, _FRAME_BYTES)]

    def _media(self, frame: bytes) -> str:
        return self._message("media", media={"payload": base64.b64encode(frame).decode()})

    def _spoken(self, frame: AudioOutput) -> list[str]:
        self._seat.busy, self._awaited = True, ""
        return self._frames(self._wire.push(frame.audio_bytes))

    def _silenced(self) -> None:
        self._new_turn()
        self._outbox.put(self._message("clear"))

    def on_control(self, frame: ControlFrame) -> None:
        """A turn ended, or was cut off."""
        match frame:
            case TurnEnd():
                self._finish(frame.turn_id)
            case Interrupt():
                self._seat.busy = False
            case _:  # there are no words for it in this protocol
                pass

    def _finish(self, turn_id: int) -> None:
        frames = self._frames(self._wire.flush())
        if self._rest:
            frames.append(self._media(self._rest.ljust(_FRAME_BYTES, _SILENCE)))
        self._new_turn()
        if frames:
            self._outbox.put(*frames, ms=len(frames) * _FRAME_MS)
        self._awaited = f"turn-{turn_id}"
        self._outbox.put(self._message("mark", mark={"name": self._awaited}))


def _event(message: str | bytes) -> _Event | None:
    """One event; None for one that is not known here, as there may be some day. Raises `_BadMessageError`."""
    if isinstance(message, bytes):
        raise _BadMessageError("this protocol has text messages only; sound is base64 in a media event")
    try:
        return _EVENTS.validate_json(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        if first["type"] == "json_invalid":
            raise _BadMessageError("a message is JSON") from error
        where = ".".join(map(str, first["loc"])) or "event"
        raise _BadMessageError(f"{where}: {first['msg'].lower()}") from error


def _decoded(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _BadMessageError("media.payload is not base64") from error
