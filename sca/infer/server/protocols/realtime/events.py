"""The events of the OpenAI Realtime protocol, with the names of its GA version.

A request that is not valid or cannot be fulfilled raises `RealtimeError`, which becomes the event `error`. A warning is
an event `sca.warning`, because clients may end at any `error`.
"""

import json
import secrets
from typing import Literal

from pydantic import BaseModel, Field

from sca.infer.server.core.json_input import read_json
from sca.infer.server.core.limits import shortened
from sca.infer.server.protocols.realtime.beta import beta_event

__all__ = ["Event", "RealtimeError", "TurnDetection", "encode_event", "parse_event", "warning_event"]

Event = dict[str, object]
"""An event as a JSON object."""


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
            event_id: The id of the client event that caused the error, as received; at most 200 characters are repeated.
        """
        error = {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": shortened(event_id) if isinstance(event_id, str) else None,
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
        event = read_json(message)
    except ValueError as error:
        raise RealtimeError("the message is not JSON", "invalid_json") from error
    kind = event.get("type") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(kind, str):
        raise RealtimeError("an event is an object with a string `type`", "missing_required_parameter", "type")
    return kind, event


def warning_event(code: str, message: str, param: str | None = None) -> Event:
    """Return the event of a warning.

    Args:
        code: Identifies its kind.
        message: The text.
        param: The field that it is about.
    """
    return {"type": "sca.warning", "warning": {"code": code, "message": message, "param": param}}


def encode_event(event: Event, *, beta: bool) -> tuple[str, ...]:
    """Return the messages of a server event: one, or none if the beta does not have the event."""
    sent = beta_event(event) if beta else event
    if sent is None:
        return ()
    return (json.dumps({"event_id": f"event_{secrets.token_hex(8)}", **sent}, ensure_ascii=False),)


Eagerness = Literal["low", "medium", "high", "auto"]
"""How soon a turn of the user is over for `semantic_vad`."""


class TurnDetection(BaseModel):
    """Turn detection by the server: by silence (`server_vad`), or by an end-of-turn model (`semantic_vad`)."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(0.5, ge=0.05, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=10_000)
    silence_duration_ms: int = Field(500, ge=32, le=10_000)
    create_response: bool = True
    interrupt_response: bool = True
    eagerness: Eagerness = "auto"

    def document(self) -> dict[str, object]:
        """Return the settings for JSON, without those that the type does not have."""
        silence = {"threshold", "prefix_padding_ms", "silence_duration_ms"}
        return self.model_dump(exclude={"eagerness"} if self.type == "server_vad" else silence)
