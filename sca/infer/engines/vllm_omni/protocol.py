"""What the protocols of realtime servers share: the URL, JSON events, and the audio in them."""

import base64
import binascii
import itertools
import json
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sca.config import VllmConfig
from sca.errors import ConfigError
from sca.units import SPOKEN_HZ

__all__ = [
    "Event",
    "ProtocolError",
    "append_event",
    "audio_of_delta",
    "error_code",
    "error_line",
    "event_id_of",
    "milliseconds",
    "nested",
    "new_event",
    "parse_event",
    "realtime_url",
    "response_id_of",
    "text_of",
]

_PATH = "/v1/realtime"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_LONGEST_REASON = 300

_GA_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
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
    query = [parts.query] if parts.query else []
    if vllm.model:
        # With a model in the query, a duplex server starts a default session before it reads our settings (autostart).
        more = {"model": vllm.model, "autostart": "0"}
        given = {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
        query.append(urlencode({key: value for key, value in more.items() if key not in given}))
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, "&".join(filter(None, query)), ""))


def new_event(kind: str, **fields: object) -> Event:
    """Return an event of the client, with a new id."""
    return {"type": kind, "event_id": f"sca_{next(_ids)}", **fields}


def append_event(pcm: bytes) -> Event:
    """Return the event that appends int16 little-endian samples to the input buffer."""
    return new_event("input_audio_buffer.append", audio=base64.b64encode(pcm).decode("ascii"))


def event_id_of(event: Event) -> str:
    """Return the id of an event that was made here."""
    return str(event["event_id"])


def milliseconds(samples: int) -> int:
    """Return the duration of samples at 24 kHz in ms, rounded down."""
    return samples * 1000 // SPOKEN_HZ


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


def response_id_of(event: Event) -> str | None:
    """Return the id of the response that an event belongs to."""
    return text_of(event, "response_id") or text_of(nested(event, "response"), "id")


def audio_of_delta(event: Event) -> bytes:
    """Return the int16 little-endian samples of an audio delta.

    Raises:
        ProtocolError: The audio has another rate or encoding.
    """
    rate = event.get("sample_rate_hz") or SPOKEN_HZ  # vLLM-Omni sends it, OpenAI's protocol does not have it
    if rate != SPOKEN_HZ:
        raise ProtocolError(f"audio at {rate} Hz instead of {SPOKEN_HZ} Hz")
    try:
        pcm = base64.b64decode(text_of(event, "delta") or text_of(event, "audio") or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("audio that is not base64") from error
    if len(pcm) % 2:
        raise ProtocolError(f"{len(pcm)} bytes of audio, but an int16 sample has 2 bytes")
    return pcm


def error_code(event: Event) -> str | None:
    """Return the code of an `error` event, which some versions nest and some do not."""
    details = nested(event, "error")
    return text_of(details, "code") or text_of(details, "type") or text_of(event, "code")


def error_line(event: Event) -> str:
    """Return the error of an `error` event, or of a failed response, in one line."""
    error = event.get("error")
    reason = nested(event, "error").get("message") or (error if isinstance(error, str) else None)
    text = " ".join(str(reason or "no reason given").split())[:_LONGEST_REASON]
    code = error_code(event)
    return f"{text} ({code})" if code else text
