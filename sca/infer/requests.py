"""Requests to a session that takes text besides audio (`EngineInfo.takes_text`): messages, settings, and answers.

They are delivered with a chunk (`AudioInput.signals`), among the decisions about turns, in the order of the client.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sca.infer.messages import Message, ReplyOptions, ToolSchema

__all__ = ["AddMessage", "AnswerRequest", "CancelAnswer", "Configure", "RemoveMessage", "Request"]


@dataclass(frozen=True, slots=True)
class Configure:
    """Settings of all answers from now on.

    Attributes:
        instructions: The system prompt; None does not change it.
        tools: The tools that the model may call. The client calls them.
        options: Length and choice of tools.
        voice: The voice of the answers, one of `EngineInfo.voices`; None does not change it.
    """

    kind: ClassVar[Literal["configure"]] = "configure"
    instructions: str | None = None
    tools: tuple[ToolSchema, ...] = ()
    options: ReplyOptions = field(default_factory=ReplyOptions)
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class AddMessage:
    """Add a message to the conversation.

    Attributes:
        message: The message.
        id: Identifies it for `RemoveMessage`.
    """

    kind: ClassVar[Literal["add"]] = "add"
    message: Message
    id: str = ""


@dataclass(frozen=True, slots=True)
class RemoveMessage:
    """Remove a message that was added; nothing happens if it is not there."""

    kind: ClassVar[Literal["remove"]] = "remove"
    id: str


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Answer now: the turns of the user that are over, or the conversation as it is.

    Attributes:
        id: Identifies the answer in `WrittenText` and `WrittenEnd`, and in `CancelAnswer`.
        is_spoken: Whether it is spoken, as a turn; otherwise it is written.
        in_conversation: Whether it becomes part of the conversation. If not, no turn of the user counts as answered.
        instructions: A system prompt instead of that of the session.
        messages: Messages instead of the conversation.
        tools: Tools instead of those of the session.
        options: Length and choice of tools, instead of those of the session.
    """

    id: str
    is_spoken: bool = True
    in_conversation: bool = True
    instructions: str | None = None
    messages: tuple[Message, ...] | None = None
    tools: tuple[ToolSchema, ...] | None = None
    options: ReplyOptions | None = None

    @property
    def kind(self) -> Literal["answer", "aside"]:
        """Whether it answers the user, as `TurnSignal` "answer" does, or is beside the conversation."""
        return "answer" if self.in_conversation else "aside"


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """End a written answer; its `WrittenEnd` follows. Nothing happens if it is complete."""

    kind: ClassVar[Literal["cancel"]] = "cancel"
    id: str


Request = Configure | AddMessage | RemoveMessage | AnswerRequest | CancelAnswer
