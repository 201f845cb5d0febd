"""The words of the OpenAI Realtime protocol: what clients may send, and the session object. GA names; beta spellings are accepted.

Knows no socket and no session. Fields that mean nothing here (tools, voices, tracing…) are accepted and ignored where stock clients
send them; what cannot be done is refused with a `RealtimeError`.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from sca.infer.server.ws.audio_codec import WireAudioFormat

__all__ = ["BETA_NAMES", "RealtimeError", "RealtimeSession", "Vad", "read_event", "write_event"]

BETA_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
"""What clients of the beta expect instead."""

_FORMATS: dict[str, WireAudioFormat] = {
    "audio/pcm": "pcm", "audio/pcmu": "pcmu", "audio/pcma": "pcma", "pcm16": "pcm", "g711_ulaw": "pcmu", "g711_alaw": "pcma",
}  # fmt: skip


class RealtimeError(Exception):
    """An error event. code, param: as the protocol has them.   kind: whose fault it is."""

    def __init__(
        self, message: str, code: str = "invalid_value", param: str | None = None, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.kind = message, code, param, kind

    def event(self, event_id: object = None) -> dict[str, Any]:
        """The event that tells of it.   event_id: of the client's event that caused it, as it came."""
        about = {"type": self.kind, "code": self.code, "message": self.message, "param": self.param}
        return {"type": "error", "error": about | {"event_id": event_id if isinstance(event_id, str) else None}}


def read_event(message: str | bytes) -> dict[str, Any]:
    """One client event. Raises `RealtimeError` for what is none."""
    if isinstance(message, bytes):
        raise RealtimeError("binary messages are not part of this protocol; send sound as base64", "invalid_message")
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RealtimeError("the message is not JSON", "invalid_json") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise RealtimeError("an event is an object with a text `type`", "missing_required_parameter", "type")
    return event


def write_event(document: dict[str, Any], *, beta: bool) -> tuple[str, ...]:
    """The messages of a server event, one or, where the beta has no such event, none."""
    kind = document["type"]
    if beta:
        if kind == "conversation.item.done":
            return ()
        kind = BETA_NAMES.get(kind, kind)
    event = {"event_id": f"event_{secrets.token_hex(8)}", **document, "type": kind}
    return (json.dumps(event, ensure_ascii=False),)


class Vad(BaseModel):
    """Turn detection by the door. `semantic_vad` is taken for `server_vad`: there is no other here."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(0.5, ge=0.05, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=10_000)
    silence_duration_ms: int = Field(500, ge=32, le=10_000)
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """What a client may set. vad: None when it commits its turns itself."""

    id: str
    model: str
    instructions: str = ""
    heard: WireAudioFormat = "pcm"
    said: WireAudioFormat = "pcm"
    vad: Vad | None = field(default_factory=Vad)

    def updated(self, session: object) -> "RealtimeSession":
        """With a `session.update`, GA or beta. Raises `RealtimeError`, and then nothing of it holds."""
        if not isinstance(session, Mapping):
            raise RealtimeError("session.update needs an object `session`", "missing_required_parameter", "session")
        if session.get("type", "realtime") != "realtime":
            raise RealtimeError("only sessions of type realtime are served", param="session.type")
        new = self
        instructions = session.get("instructions")
        if instructions is not None:
            if not isinstance(instructions, str):
                raise RealtimeError("instructions are text", param="session.instructions")
            new = replace(new, instructions=instructions)
        heard = _part(_part(session, "audio", "session"), "input", "session.audio")
        said = _part(_part(session, "audio", "session"), "output", "session.audio")
        for given, name, param in (
            (heard.get("format", session.get("input_audio_format")), "heard", "session.audio.input.format"),
            (said.get("format", session.get("output_audio_format")), "said", "session.audio.output.format"),
        ):
            if given is not None:
                new = replace(new, **{name: _sound_format(given, param)})  # type: ignore[arg-type]
        for holder, param in ((session, "session.turn_detection"), (heard, "session.audio.input.turn_detection")):
            if "turn_detection" in holder:
                new = replace(new, vad=_vad(holder["turn_detection"], param))
        return new

    def document(self) -> dict[str, Any]:
        """The session object of `session.created` and `session.updated`, with both spellings of what has two."""
        vad = None if self.vad is None else self.vad.model_dump()
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.id,
            "model": self.model,
            "output_modalities": ["audio"],
            "instructions": self.instructions,
            "audio": {
                "input": {"format": _named(self.heard), "turn_detection": vad, "transcription": None, "noise_reduction": None},
                "output": {"format": _named(self.said), "voice": self.model, "speed": 1.0},
            },
            "tools": [],
            "tool_choice": "none",
            "max_output_tokens": "inf",
        }  # fmt: skip


def _part(holder: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    part = holder.get(name)
    if part is None:
        return {}
    if not isinstance(part, Mapping):
        raise RealtimeError(f"{where}.{name} is an object", param=f"{where}.{name}")
    return part


def _named(sound_format: WireAudioFormat) -> dict[str, Any]:
    return {"type": "audio/pcm", "rate": 24_000} if sound_format == "pcm" else {"type": f"audio/{sound_format}"}


def _sound_format(given: object, param: str) -> WireAudioFormat:
    name = given.get("type") if isinstance(given, Mapping) else given
    rate = given.get("rate") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or name not in _FORMATS:
        raise RealtimeError("sound is audio/pcm (24000 Hz), audio/pcmu or audio/pcma", param=param)
    sound_format = _FORMATS[name]
    if rate is not None and rate != (24_000 if sound_format == "pcm" else 8_000):
        raise RealtimeError(
            "audio/pcm has a rate of 24000, audio/pcmu and audio/pcma one of 8000", param=f"{param}.rate"
        )
    return sound_format


def _vad(given: object, param: str) -> Vad | None:
    if given is None:
        return None
    try:
        return Vad.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([param, *map(str, first["loc"])])
        raise RealtimeError(f"{where}: {first['msg'].lower()}", param=where) from error
