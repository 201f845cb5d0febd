"""The memory of a conversation: the texts of the user, and the parts of the answers that were heard.

An answer that was interrupted counts as far as it was played, so the model does not believe that the user knows the
rest.
"""

from collections.abc import Sequence
from dataclasses import replace

from sca.infer.conversation.spoken import SpokenAnswer
from sca.infer.language.base import Message

__all__ = ["History", "with_user_text"]

_CHARS_PER_TOKEN = 3  # fewer than in English text, so that the estimate is on the safe side
_TOKENS_PER_MESSAGE = 8
_MAX_MESSAGES = 200


def with_user_text(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the messages with a text of the user after them; joined to the last one if that is of the user too."""
    if messages and messages[-1].role == "user":
        last = messages[-1]
        return [*messages[:-1], replace(last, text=f"{last.text} {text}".strip())]
    return [*messages, Message("user", text)]


class History:
    """The messages so far. Not thread-safe: `messages` returns a copy for other threads.

    Args:
        prompt: The system prompt; may be empty.
        max_tokens: The tokens that all messages may have together, estimated from their length; None if that is not
            known. The oldest ones are left out first.
    """

    def __init__(self, prompt: str, max_tokens: int | None = None) -> None:
        self._system = [Message("system", prompt)] if prompt else []
        self._max_tokens = max_tokens
        self._entries: list[Message | SpokenAnswer] = []

    def add_user(self, text: str) -> None:
        """Add a text of the user."""
        last = self._entries[-1] if self._entries else None
        if isinstance(last, SpokenAnswer) and not last.heard_text:
            self._entries.pop()  # nothing of it was heard
            last = self._entries[-1] if self._entries else None
        if isinstance(last, Message) and last.role == "user":
            self._entries[-1:] = with_user_text([last], text)
        else:
            self._entries.append(Message("user", text))
        del self._entries[:-_MAX_MESSAGES]

    def add_answer(self, answer: SpokenAnswer) -> None:
        """Add an answer. What of it was heard is read when it is needed."""
        self._entries.append(answer)

    def add_tools(self, answer: SpokenAnswer, messages: Sequence[Message]) -> None:
        """Add tool calls of the model and their results, before the answer that they belong to."""
        place = self._entries.index(answer) if answer in self._entries else len(self._entries)
        self._entries[place:place] = messages

    def messages(self) -> list[Message]:
        """Return the system prompt and the newest messages that fit."""
        said = [
            entry if isinstance(entry, Message) else Message("assistant", entry.heard_text) for entry in self._entries
        ]
        said = [message for message in said if message.text or message.tool_calls or message.role == "tool"]
        if self._max_tokens is None:
            return [*self._system, *said]
        left = self._max_tokens - sum(map(_tokens, self._system))
        first = len(said)
        while first and left >= (cost := _tokens(said[first - 1])):
            left -= cost
            first -= 1
        while first < len(said) and said[first].role != "user":
            first += 1  # begin with the user, and not with the result of a tool
        return [*self._system, *said[first:]]


def _tokens(message: Message) -> int:
    arguments = sum(len(call.arguments) for call in message.tool_calls)
    return _TOKENS_PER_MESSAGE + (len(message.text) + arguments) // _CHARS_PER_TOKEN + 1
