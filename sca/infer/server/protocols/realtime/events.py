"""The events of the OpenAI Realtime protocol and its session object.

The names are those of the GA version; the spellings of the beta are accepted. Fields without a meaning here (tools,
voices, tracing, ...) are ignored where standard clients send them; requests that cannot be fulfilled raise
`RealtimeError`.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from sca.infer.server.ws.audio_codec import WireAudioFormat

__all__ = ["BETA_NAMES", "Event", "RealtimeError", "RealtimeSession", "TurnDetection", "encode_event", "parse_event"]

Event = dict[str, object]
"""An event as a JSON object."""

BETA_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
"""The beta's names of server events that were renamed."""

_FORMATS: dict[str, WireAudioFormat] = {
    "audio/pcm": "pcm",
    "audio/pcmu": "pcmu",
    "audio/pcma": "pcma",
    "pcm16": "pcm",
    "g711_ulaw": "pcmu",
    "g711_alaw": "pcma",
}


class RealtimeError(Exception):
    """An error that is sent to the client.

    Attributes:
        message: The text.
        code: The protocol's error code.
        param: The field that is wrong.
        kind: The protocol's error type.
    """

    def __init__(
        self, message: str, code: str = "invalid_value", param: str | None = None, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.kind = message, code, param, kind

    def event(self, event_id: object = None) -> Event:
        """Return the error event.

        Args:
            event_id: The id of the client event that caused the error, as received.
        """
        error = {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": event_id if isinstance(event_id, str) else None,
        }
        return {"type": "error", "error": error}


def parse_event(message: str | bytes) -> tuple[str, Event]:
    """Parse a client event.

    Returns:
        The type of the event, and the event.

    Raises:
        RealtimeError: The message is not an event.
    """
    if isinstance(message, bytes):
        raise RealtimeError("binary messages are not part of this protocol; send audio as base64", "invalid_message")
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RealtimeError("the message is not JSON", "invalid_json") from error
    kind = event.get("type") if isinstance(event, dict) else None
    if not isinstance(kind, str):
        raise RealtimeError("an event is an object with a string `type`", "missing_required_parameter", "type")
    return kind, event


def encode_event(event: Event, *, beta: bool) -> tuple[str, ...]:
    """Return the messages of a server event: one, or none if the beta does not have the event."""
    kind = str(event["type"])
    if beta:
        if kind == "conversation.item.done":
            return ()
        kind = BETA_NAMES.get(kind, kind)
    document = {"event_id": f"event_{secrets.token_hex(8)}", **event, "type": kind}
    return (json.dumps(document, ensure_ascii=False),)


class TurnDetection(BaseModel):
    """Turn detection by the server. `semantic_vad` is treated as `server_vad`."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(0.5, ge=0.05, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=10_000)
    silence_duration_ms: int = Field(500, ge=32, le=10_000)
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """The settings of a session.

    Attributes:
        id: The id.
        model: The name of the engine.
        instructions: The system prompt.
        input_format: The format of the client's audio.
        output_format: The format of the spoken audio.
        turn_detection: How turns are detected; None if the client commits its turns.
    """

    id: str
    model: str
    instructions: str = ""
    input_format: WireAudioFormat = "pcm"
    output_format: WireAudioFormat = "pcm"
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)

    def updated(self, session: object) -> "RealtimeSession":
        """Return the settings after a `session.update`, GA or beta.

        Args:
            session: The `session` of the event.

        Raises:
            RealtimeError: The update is not valid.
        """
        if not isinstance(session, Mapping):
            raise RealtimeError("session.update needs an object `session`", "missing_required_parameter", "session")
        if session.get("type", "realtime") != "realtime":
            raise RealtimeError("only sessions of type realtime are supported", param="session.type")
        new = self
        instructions = session.get("instructions")
        if instructions is not None:
            if not isinstance(instructions, str):
                raise RealtimeError("instructions must be a string", param="session.instructions")
            new = replace(new, instructions=instructions)
        audio = _section(session, "audio", "session")
        input_, output = _section(audio, "input", "session.audio"), _section(audio, "output", "session.audio")
        input_format = input_.get("format", session.get("input_audio_format"))
        if input_format is not None:
            new = replace(new, input_format=_audio_format(input_format, "session.audio.input.format"))
        output_format = output.get("format", session.get("output_audio_format"))
        if output_format is not None:
            new = replace(new, output_format=_audio_format(output_format, "session.audio.output.format"))
        for section, param in ((session, "session.turn_detection"), (input_, "session.audio.input.turn_detection")):
            if "turn_detection" in section:
                new = replace(new, turn_detection=_turn_detection(section["turn_detection"], param))
        return new

    def document(self) -> dict[str, object]:
        """Return the session object of `session.created` and `session.updated`."""
        audio = {
            "input": {
                "format": _format_document(self.input_format),
                "turn_detection": None if self.turn_detection is None else self.turn_detection.model_dump(),
                "transcription": None,
                "noise_reduction": None,
            },
            "output": {"format": _format_document(self.output_format), "voice": self.model, "speed": 1.0},
        }
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.id,
            "model": self.model,
            "output_modalities": ["audio"],
            "instructions": self.instructions,
            "audio": audio,
            "tools": [],
            "tool_choice": "none",
            "max_output_tokens": "inf",
        }


def _section(holder: Mapping[str, object], name: str, path: str) -> Mapping[str, object]:
    section = holder.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise RealtimeError(f"{path}.{name} must be an object", param=f"{path}.{name}")
    return section


def _format_document(audio_format: WireAudioFormat) -> dict[str, object]:
    return {"type": "audio/pcm", "rate": 24_000} if audio_format == "pcm" else {"type": f"audio/{audio_format}"}


def _audio_format(given: object, param: str) -> WireAudioFormat:
    name = given.get("type") if isinstance(given, Mapping) else given
    rate = given.get("rate") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or name not in _FORMATS:
        raise RealtimeError("the format must be audio/pcm (24000 Hz), audio/pcmu or audio/pcma", param=param)
    audio_format = _FORMATS[name]
    if rate is not None and rate != (24_000 if audio_format == "pcm" else 8_000):
        raise RealtimeError(
            "the rate of audio/pcm is 24000, that of audio/pcmu and audio/pcma 8000", param=f"{param}.rate"
        )
    return audio_format


def _turn_detection(given: object, param: str) -> TurnDetection | None:
    if given is None:
        return None
    try:
        return TurnDetection.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join([param, *map(str, first["loc"])])
        raise RealtimeError(f"{field_name}: {first['msg'].lower()}", param=field_name) from error
