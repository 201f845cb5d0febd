"""The beta version of the OpenAI Realtime protocol: its names of events and content, and the fields of its sessions.

Clients ask for it by the header `OpenAI-Beta: realtime=v1` or the subprotocol `openai-beta.realtime-v1`.
"""

from collections.abc import Mapping, Sequence

__all__ = ["beta_event", "is_beta"]

_EVENT_NAMES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
_CONTENT_NAMES = {"output_audio": "audio", "output_text": "text"}
_FORMAT_NAMES = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_TEMPERATURE = 0.8  # the default of the original; it has no effect


def is_beta(headers: Mapping[str, str], subprotocols: Sequence[str]) -> bool:
    """Return whether a client asks for the beta."""
    return "realtime=v1" in headers.get("openai-beta", "") or "openai-beta.realtime-v1" in subprotocols


def beta_event(event: Mapping[str, object]) -> dict[str, object] | None:
    """Return a server event in the spelling of the beta; None if the beta does not have it."""
    kind = str(event["type"])
    if kind == "conversation.item.done":
        return None
    changed: dict[str, object] = {"type": _EVENT_NAMES.get(kind, kind)}
    for name, convert in (("item", _item), ("response", _response), ("session", _session)):
        part = event.get(name)
        if isinstance(part, Mapping):
            changed[name] = convert(part)
    return {**event, **changed}


def _item(item: Mapping[str, object]) -> dict[str, object]:
    content = item.get("content")
    if not isinstance(content, Sequence):
        return dict(item)
    parts = [{**part, "type": _CONTENT_NAMES.get(str(part.get("type")), part.get("type"))} for part in content]
    return {**item, "content": parts}


def _response(response: Mapping[str, object]) -> dict[str, object]:
    converted = dict(response)
    output = converted.get("output")
    assert isinstance(output, Sequence)
    return {
        **converted,
        "output": [_item(item) for item in output],
        "modalities": _modalities(converted.pop("output_modalities", None)),
    }


def _modalities(given: object) -> list[str]:
    return ["text"] if given == ["text"] else ["text", "audio"]


def _session(session: Mapping[str, object]) -> dict[str, object]:
    audio = _mapping(session.get("audio"))
    heard, spoken = _mapping(audio.get("input")), _mapping(audio.get("output"))
    return {
        "id": session.get("id"),
        "object": "realtime.session",
        "model": session.get("model"),
        "modalities": _modalities(session.get("output_modalities")),
        "instructions": session.get("instructions"),
        "voice": spoken.get("voice"),
        "input_audio_format": _format_name(heard),
        "output_audio_format": _format_name(spoken),
        "input_audio_transcription": heard.get("transcription"),
        "turn_detection": heard.get("turn_detection"),
        "tools": session.get("tools"),
        "tool_choice": session.get("tool_choice"),
        "temperature": _TEMPERATURE,
        "max_response_output_tokens": session.get("max_output_tokens"),
    }


def _format_name(section: Mapping[str, object]) -> str:
    return _FORMAT_NAMES[str(_mapping(section.get("format"))["type"])]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
