"""The body of `response.create`: what a response has of its own, for engines that can obey it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from sca.infer.messages import ReplyOptions, ToolSchema
from sca.infer.requests import AnswerRequest, Configure
from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.realtime.items import ConversationItems
from sca.infer.server.protocols.realtime.session_config import (
    RealtimeSession,
    read_format,
    read_max_tokens,
    read_modality,
    read_text,
    read_tools,
)
from sca.infer.server.ws.audio_codec import WireAudioFormat

__all__ = ["ResponseRequest", "chat_tool_choice", "configuration", "own_request", "read_request"]

_MAX_METADATA, _MAX_KEY, _MAX_VALUE = 16, 64, 512
_NEED_TEXT = ("input", "instructions", "max_output_tokens", "max_response_output_tokens", "tools", "tool_choice")
_WITHOUT_EFFECT = ("parallel_tool_calls", "prompt", "reasoning", "temperature")


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A requested response.

    Attributes:
        answer: The request to the engine.
        metadata: What comes back with the response.
        output_format: The format of its audio.
        max_tokens: Its longest answer; None for the limit of the server.
        ignored: The fields that have no effect.
    """

    answer: AnswerRequest
    output_format: WireAudioFormat
    metadata: dict[str, str] | None = None
    max_tokens: int | None = None
    ignored: tuple[str, ...] = field(default=())


def own_request(config: RealtimeSession, response_id: str | None = None) -> ResponseRequest:
    """Return the request for a response with the settings of the session.

    Args:
        config: The settings.
        response_id: The id of the response; None for a new one.
    """
    response_id = _new_response_id() if response_id is None else response_id
    answer = AnswerRequest(response_id, is_spoken=config.modality == "audio")
    return ResponseRequest(answer, config.output_format, max_tokens=config.max_tokens)


def read_request(given: object, config: RealtimeSession, items: ConversationItems) -> ResponseRequest:
    """Read the `response` of a `response.create`, GA or beta.

    Args:
        given: The field, as received; None without one.
        config: The settings of the session.
        items: The conversation, for references in `input`.

    Raises:
        RealtimeError: A field is not valid, or the engine cannot obey it.
    """
    body = {} if given is None else given
    if not isinstance(body, Mapping):
        raise RealtimeError("response must be an object", param="response")
    metadata = _metadata(body.get("metadata"))
    in_conversation = _in_conversation(body.get("conversation"))
    modality = config.modality
    for name in ("output_modalities", "modalities"):
        if body.get(name) is not None:
            modality = read_modality(body[name], f"response.{name}")
    if not config.engine.takes_text:
        _refuse(config, body, is_written=modality == "text", in_conversation=in_conversation)
    ignored = _without_effect(body, config)
    messages = None
    if body.get("input") is not None:
        if not isinstance(body["input"], list):
            raise RealtimeError("input must be a list of items", param="response.input")
        messages, left_out = items.messages(body["input"], "response.input")
        ignored += left_out
    tools = None
    if body.get("tools") is not None:
        functions, others = read_tools(body["tools"], "response.tools")
        tools = tuple(map(chat_tool, functions))
        ignored += others
    max_tokens = config.max_tokens
    for name in ("max_output_tokens", "max_response_output_tokens"):
        if body.get(name) is not None:
            max_tokens = read_max_tokens(body[name], f"response.{name}")
    choice = body.get("tool_choice")
    instructions = body.get("instructions")
    answer = AnswerRequest(
        _new_response_id(),
        is_spoken=modality == "audio",
        in_conversation=in_conversation,
        instructions=None if instructions is None else read_text(instructions, "response.instructions"),
        messages=messages,
        tools=tools,
        options=ReplyOptions(max_tokens, chat_tool_choice(config.tool_choice if choice is None else choice)),
    )
    return ResponseRequest(answer, _output_format(body, config), metadata, max_tokens, tuple(ignored))


def configuration(config: RealtimeSession, *, instructions: bool) -> Configure:
    """Return the settings of a session for its engine.

    Args:
        config: The settings of the session.
        instructions: Whether they include the system prompt.
    """
    options = ReplyOptions(config.max_tokens, chat_tool_choice(config.tool_choice))
    prompt = config.instructions if instructions else None
    return Configure(prompt, tuple(map(chat_tool, config.tools)), options, config.chosen_voice or config.engine.voice)


def chat_tool(tool: Mapping[str, object]) -> ToolSchema:
    """Return a tool in the format of the chat API. Here, the function is an object of its own."""
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def chat_tool_choice(choice: object) -> str | Mapping[str, object] | None:
    """Return a choice of tools in the format of the chat API; None for its default.

    Raises:
        RealtimeError: It is not valid.
    """
    if choice in (None, "auto"):
        return None
    if choice in ("none", "required"):
        return str(choice)
    name = choice.get("name") if isinstance(choice, Mapping) else None
    if not isinstance(name, str):
        raise RealtimeError(
            'tool_choice is "auto", "none", "required" or a function with its name', param="tool_choice"
        )
    return {"type": "function", "function": {"name": name}}


def _new_response_id() -> str:
    return f"resp_{secrets.token_hex(12)}"


def _refuse(config: RealtimeSession, body: Mapping[str, object], *, is_written: bool, in_conversation: bool) -> None:
    """Raise `RealtimeError` for a field that changes the response, and that an engine without text cannot obey."""
    defaults: tuple[object, ...] = (None, [], "auto", "none", "inf")
    refused = [name for name in _NEED_TEXT if body.get(name) not in defaults or (name, body.get(name)) == ("input", [])]
    refused = [name for name in refused if name != "instructions" or body[name] != config.instructions]
    refused += ["output_modalities"] if is_written else []
    refused += [] if in_conversation else ["conversation"]
    if refused:
        message = f"the engine {config.engine.name} takes sound only, and cannot obey: {', '.join(refused)}"
        raise RealtimeError(message, "unsupported_parameter", f"response.{refused[0]}")


def _metadata(given: object) -> dict[str, str] | None:
    if given is None:
        return None
    param = "response.metadata"
    if not isinstance(given, Mapping) or len(given) > _MAX_METADATA:
        raise RealtimeError(f"metadata is an object with at most {_MAX_METADATA} pairs", param=param)
    for key, value in given.items():
        if not isinstance(value, str) or len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
            limits = f"keys of at most {_MAX_KEY} characters and strings of at most {_MAX_VALUE}"
            raise RealtimeError(f"metadata has {limits}", param=param)
    return dict(given)


def _in_conversation(given: object) -> bool:
    if given not in (None, "auto", "none"):
        raise RealtimeError('conversation is "auto" or "none"', param="response.conversation")
    return given != "none"


def _without_effect(body: Mapping[str, object], config: RealtimeSession) -> list[str]:
    """Return the given fields that have no effect. All responses of a session have its voice."""
    given = {name: body.get(name) for name in _WITHOUT_EFFECT}
    ignored = [name for name, value in given.items() if value not in (None, 0.8)]
    voices = {"voice": body.get("voice"), "audio.output.voice": _audio_output(body).get("voice")}
    return ignored + [name for name, voice in voices.items() if voice not in (None, config.voice)]


def _output_format(body: Mapping[str, object], config: RealtimeSession) -> WireAudioFormat:
    given = _audio_output(body).get("format")
    given = body.get("output_audio_format") if given is None else given
    return config.output_format if given is None else read_format(given, "response.audio.output.format")


def _audio_output(body: Mapping[str, object]) -> Mapping[str, object]:
    audio = body.get("audio")
    output = audio.get("output") if isinstance(audio, Mapping) else None
    return output if isinstance(output, Mapping) else {}
