"""The interface of a language model: the messages of a conversation in; text, piece by piece, and tool calls out."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sca.infer.messages import DEFAULT_OPTIONS, Message, ReplyOptions, ToolCall, ToolSchema

__all__ = ["LanguageModel", "Reply"]


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
