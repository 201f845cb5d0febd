"""The events of the OpenAI Realtime protocol as a client speaks it to vLLM-Omni: addresses, what is sent, what is read.

GA names; of what is received the beta's are understood too. Turns are the client's (`turn_detection: null`), which every version
of vLLM-Omni's endpoint can do. Knows no socket and no session.
"""

import base64
import binascii
import itertools
import json
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.config import VllmConfig
from sca.errors import ConfigError
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["ProtocolError", "address", "ask", "cancel", "error_line", "hello", "read", "sound_of", "truncate"]

_PATH = "/v1/realtime"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_APPEND_SAMPLES = SPOKEN_HZ  # a second an event: far below any server's largest message

_GA_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.text.delta": "response.output_text.delta",
}

_ids = itertools.count(1)

Event = dict[str, Any]


class ProtocolError(Exception):
    """What the server sent is not of the protocol; the text says why, in one line."""


def address(vllm: VllmConfig) -> str:
    """The WebSocket address for `vllm.base_url`. Raises `ConfigError` for one that is none."""
    given = (vllm.base_url or "").strip()
    hint = "give --base-url http://HOST:PORT, the address that `vllm serve … --omni` listens on"
    if not given:
        raise ConfigError("the engine vllm-omni has no server: vllm.base_url is not set", hint=hint)
    try:
        parts = urlsplit(given)
        known = parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ConfigError(f"vllm.base_url should be the address of a server, got {given!r}", hint=hint)
    if "@" in parts.netloc:
        raise ConfigError("vllm.base_url should have no user name or password in it", hint="set SCA_VLLM_API_KEY")
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):
        path = path.removesuffix("/v1") + _PATH
    query = "&".join(filter(None, (parts.query, urlencode({"model": vllm.model}) if vllm.model else "")))
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, query, ""))


def hello(prompt: str, vllm: VllmConfig) -> Event:
    """The first event: what the session is to be like."""
    pcm = {"type": "audio/pcm", "rate": SPOKEN_HZ}
    session: Event = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": {"format": pcm, "turn_detection": None}, "output": {"format": pcm}},
    }
    if prompt:
        session["instructions"] = prompt
    if vllm.voice:
        session["audio"]["output"]["voice"] = vllm.voice
    if vllm.model:
        session["model"] = vllm.model
    return {"type": "session.update", "event_id": _id(), "session": session}


def ask(turn: np.ndarray) -> list[Event]:
    """The events that hand over a turn, float32 `(n,)` at 16 kHz, and want an answer to it; the last is `response.create`."""
    pcm = pcm16_bytes(resample(turn, HEARD_HZ, SPOKEN_HZ), INT16_MAX)
    size = 2 * _APPEND_SAMPLES
    events = [
        {
            "type": "input_audio_buffer.append",
            "event_id": _id(),
            "audio": base64.b64encode(pcm[i : i + size]).decode("ascii"),
        }
        for i in range(0, len(pcm), size)
    ]
    return [
        *events,
        {"type": "input_audio_buffer.commit", "event_id": _id()},
        {"type": "response.create", "event_id": _id()},
    ]


def cancel(response_id: str) -> Event:
    """Stop this answer."""
    return {"type": "response.cancel", "event_id": _id(), "response_id": response_id}


def truncate(item_id: str, said_samples: int) -> Event:
    """Only so much of this item, in samples at 24 kHz, was played: the server forgets the rest."""
    return {
        "type": "conversation.item.truncate",
        "event_id": _id(),
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": said_samples * 1000 // SPOKEN_HZ,
    }


def read(message: str | bytes) -> Event:
    """One server event, under its GA name. Raises `ProtocolError`."""
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


def sound_of(event: Event) -> bytes:
    """The int16 little-endian samples of an audio delta. Raises `ProtocolError`."""
    rate = event.get("sample_rate_hz", SPOKEN_HZ)  # vLLM-Omni's earlier handler says it with every piece
    if rate != SPOKEN_HZ:
        raise ProtocolError(f"sound at {rate} Hz; {SPOKEN_HZ} Hz were agreed on")
    try:
        pcm = base64.b64decode(str(event.get("delta") or event.get("audio") or ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("sound that is not base64") from error
    if len(pcm) % 2:
        raise ProtocolError(f"{len(pcm)} bytes of sound, and int16 samples have two each")
    return pcm


def error_line(event: Event) -> str:
    """What an `error` event, or a response that failed, says: one line."""
    error = event.get("error")
    details = error if isinstance(error, dict) else {}
    reason = details.get("message") or (error if isinstance(error, str) else None)
    text = " ".join(str(reason or "no reason given").split())[:300]
    code = details.get("code") or details.get("type")
    return f"{text} ({code})" if code else text


def _id() -> str:
    return f"sca_{next(_ids)}"
