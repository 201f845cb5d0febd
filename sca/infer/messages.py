"""The messages of a conversation in text, and the calls of tools in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["DEFAULT_OPTIONS", "Message", "ReplyOptions", "ToolCall", "ToolSchema"]

ToolSchema = Mapping[str, object]
"""A tool in the JSON format of the chat API: `{"type": "function", "function": {"name": …, "parameters": …}}`."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A request of the model to call a tool.

    Attributes:
        id: Identifies the call in the message with its result.
        name: The name of the tool.
        arguments: The arguments as JSON text, as the model wrote them.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a conversation.

    Attributes:
        role: Its author.
        text: Its text.
        tool_calls: The tool calls of a message of the assistant.
        tool_call_id: The call that a message of a tool answers.
        pictures: JPEG files that are shown before the text, for models that see.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    pictures: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What one answer has of its own.

    Attributes:
        max_tokens: The longest answer; None for the setting `llm.max_tokens`, which is also the limit.
        tool_choice: Whether tools may or must be called, in the JSON format of the chat API; None for its default.
    """

    max_tokens: int | None = None
    tool_choice: str | Mapping[str, object] | None = None


DEFAULT_OPTIONS = ReplyOptions()
