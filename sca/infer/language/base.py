"""The interface of a language model: the messages of a conversation in; text, piece by piece, and tool calls out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["DEFAULT_OPTIONS", "LanguageModel", "Message", "Reply", "ReplyOptions", "ToolCall", "ToolSchema"]

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
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


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


class Reply(Protocol):
    """An answer that is being generated. Iterating waits for the next piece; another thread may call `cancel`."""

    def __iter__(self) -> Iterator[str | ToolCall]:
        """Yield pieces of text as they arrive, then the tool calls.

        Raises:
            ConfigError: The server refuses the key.
            UpstreamError: The server fails, stalls or sends something else.
        """
        ...

    def cancel(self) -> None:
        """End the answer. An iteration that waits ends at once, without an error."""
        ...


class LanguageModel(Protocol):
    """A model that answers. Several replies may be in progress at a time.

    Attributes:
        name: The name of the model or the address of its server, for display.
        context_tokens: The length of its context in tokens; None if it is not known.
    """

    @property
    def name(self) -> str:
        """The name of the model or the address of its server, for display."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """The length of its context in tokens; None if it is not known."""
        ...

    def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema] = (), options: ReplyOptions = DEFAULT_OPTIONS
    ) -> Reply:
        """Start an answer.

        Args:
            messages: The conversation, with the system prompt first.
            tools: The tools that the model may call.
            options: What this answer has of its own.
        """
        ...

    def close(self) -> None:
        """End what the model runs. A second call has no effect."""
        ...
