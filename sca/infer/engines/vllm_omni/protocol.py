"""The client side of the OpenAI Realtime protocol, as vLLM-Omni implements it: URLs, events to send, and events received.

Event names are those of the GA version; the beta names of received events are accepted too. The client detects turns
(`turn_detection: null`), which all versions of vLLM-Omni's endpoint support.
"""

import base64
import binascii
import itertools
import json
from urllib.parse import urlencode, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.config import VllmConfig
from sca.errors import ConfigError
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = [
    "Event",
    "ProtocolError",
    "audio_of_delta",
    "cancel_event",
    "error_line",
    "event_id_of",
    "nested",
    "parse_event",
    "realtime_url",
    "session_update_event",
    "text_of",
    "truncate_event",
    "turn_events",
]

_PATH = "/v1/realtime"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_APPEND_SAMPLES = SPOKEN_HZ  # one second per event: far below the message limit of any server
_LONGEST_REASON = 300

_GA_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.text.delta": "response.output_text.delta",
}

_ids = itertools.count(1)

Event = dict[str, object]
"""A JSON event. Received events have a `type`, which is text; other fields are not validated."""


class ProtocolError(Exception):
    """The server sent something that is not part of the protocol. The message describes it in one line."""


def realtime_url(vllm: VllmConfig) -> str:
    """Return the WebSocket URL for `vllm.base_url`.

    Raises:
        ConfigError: `vllm.base_url` is missing or is not the URL of a server.
    """
    base_url = (vllm.base_url or "").strip()
    hint = "give --base-url http://HOST:PORT, the address that `vllm serve … --omni` listens on"
    if not base_url:
        raise ConfigError("the engine vllm-omni has no server: vllm.base_url is not set", hint=hint)
    try:
        parts = urlsplit(base_url)
        is_valid = parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigError(f"vllm.base_url should be the address of a server, got {base_url!r}", hint=hint)
    if "@" in parts.netloc:
        raise ConfigError("vllm.base_url should not contain a user name or password", hint="set SCA_VLLM_API_KEY")
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):
        path = path.removesuffix("/v1") + _PATH
    query = "&".join(filter(None, (parts.query, urlencode({"model": vllm.model}) if vllm.model else "")))
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, query, ""))


def session_update_event(prompt: str, vllm: VllmConfig) -> Event:
    """Return the first event, which configures the session."""
    pcm = {"type": "audio/pcm", "rate": SPOKEN_HZ}
    output: Event = {"format": pcm}
    if vllm.voice:
        output["voice"] = vllm.voice
    session: Event = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": {"format": pcm, "turn_detection": None}, "output": output},
    }
    if prompt:
        session["instructions"] = prompt
    if vllm.model:
        session["model"] = vllm.model
    return {"type": "session.update", "event_id": _new_id(), "session": session}


def turn_events(turn: NDArray[np.float32]) -> list[Event]:
    """Return the events that send a turn and request an answer. The last one is `response.create`.

    Args:
        turn: The audio of the turn, float32 `(n,)` at 16 kHz.
    """
    pcm = pcm16_bytes(resample(turn, HEARD_HZ, SPOKEN_HZ), INT16_MAX)
    size = 2 * _APPEND_SAMPLES
    appends: list[Event] = [
        {
            "type": "input_audio_buffer.append",
            "event_id": _new_id(),
            "audio": base64.b64encode(pcm[i : i + size]).decode("ascii"),
        }
        for i in range(0, len(pcm), size)
    ]
    return [
        *appends,
        {"type": "input_audio_buffer.commit", "event_id": _new_id()},
        {"type": "response.create", "event_id": _new_id()},
    ]


def cancel_event(response_id: str) -> Event:
    """Return the event that cancels a response."""
    return {"type": "response.cancel", "event_id": _new_id(), "response_id": response_id}


def truncate_event(item_id: str, played_samples: int) -> Event:
    """Return the event that removes the part of an item that was not played.

    Args:
        item_id: The item.
        played_samples: How much of it was played, in samples at 24 kHz.
    """
    return {
        "type": "conversation.item.truncate",
        "event_id": _new_id(),
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": played_samples * 1000 // SPOKEN_HZ,
    }


def event_id_of(event: Event) -> str:
    """Return the id of an event that was made here."""
    return str(event["event_id"])


def parse_event(message: str | bytes) -> Event:
    """Parse a message of the server and convert its type to the GA name.

    Raises:
        ProtocolError: The message is not an event.
    """
    if isinstance(message, bytes):
        raise ProtocolError(f"a binary message of {len(message)} bytes; the protocol is JSON text")
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a message that is not JSON: {message[:60]!r}") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ProtocolError(f"a message without a type: {message[:60]!r}")
    event["type"] = _GA_NAMES.get(event["type"], event["type"])
    return event


def nested(event: Event, key: str) -> Event:
    """Return a field that is an object; an empty one if it is missing or has another type."""
    value = event.get(key)
    return value if isinstance(value, dict) else {}


def text_of(event: Event, key: str) -> str | None:
    """Return a field as text; None if it is missing or empty."""
    value = event.get(key)
    return str(value) if value else None


def audio_of_delta(event: Event) -> bytes:
    """Return the int16 little-endian samples of an audio delta.

    Raises:
        ProtocolError: The audio has another rate or encoding.
    """
    rate = event.get("sample_rate_hz", SPOKEN_HZ)  # only earlier versions of vLLM-Omni send it
    if rate != SPOKEN_HZ:
        raise ProtocolError(f"audio at {rate} Hz instead of {SPOKEN_HZ} Hz")
    try:
        pcm = base64.b64decode(text_of(event, "delta") or text_of(event, "audio") or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("audio that is not base64") from error
    if len(pcm) % 2:
        raise ProtocolError(f"{len(pcm)} bytes of audio, but an int16 sample has 2 bytes")
    return pcm


def error_line(event: Event) -> str:
    """Return the error of an `error` event, or of a failed response, in one line."""
    error = event.get("error")
    details = nested(event, "error")
    reason = details.get("message") or (error if isinstance(error, str) else None)
    text = " ".join(str(reason or "no reason given").split())[:_LONGEST_REASON]
    code = details.get("code") or details.get("type")
    return f"{text} ({code})" if code else text


def _new_id() -> str:
    return f"sca_{next(_ids)}"
