"""The memory of a conversation: the texts of the user, and the parts of the answers that were heard.

An answer that was interrupted counts as far as it was played, so the model does not believe that the user knows the
rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sca.infer.conversation.spoken import SpokenAnswer
from sca.infer.messages import Message

__all__ = ["History", "with_user_text"]

_CHARS_PER_TOKEN = 3  # fewer than in English text, so that the estimate is on the safe side
_TOKENS_PER_MESSAGE = 8
_MAX_MESSAGES = 200
_MAX_CHARACTERS = 4_000_000  # of all messages, whatever the model takes


def with_user_text(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the messages with a text of the user after them; joined to the last one if that is of the user too."""
    if messages and messages[-1].role == "user":
        last = messages[-1]
        return [*messages[:-1], replace(last, text=f"{last.text} {text}".strip())]
    return [*messages, Message("user", text)]


def _characters(entry: Message | SpokenAnswer) -> int:
    if isinstance(entry, SpokenAnswer):
        return 0  # as long as the model made it
    return len(entry.text) + sum(len(call.arguments) for call in entry.tool_calls)


class History:
    """The messages so far. Not thread-safe: `messages` returns a copy for other threads.

    Args:
        prompt: The system prompt; may be empty.
        max_tokens: The tokens that all messages may have together, estimated from their length; None if that is not
            known. The oldest ones are left out first.

    Attributes:
        prompt: The system prompt; may be changed.
    """

    def __init__(self, prompt: str, max_tokens: int | None = None) -> None:
        self.prompt = prompt
        self._max_tokens = max_tokens
        self._entries: list[Message | SpokenAnswer] = []

    def add_user(self, text: str) -> None:
        """Add a text of the user."""
        last = self._entries[-1] if self._entries else None
        if isinstance(last, SpokenAnswer) and not last.heard_text:
            self._entries.pop()  # nothing of it was heard
        self.add(Message("user", text))

    def add(self, message: Message) -> None:
        """Add a message."""
        self._entries.append(message)
        del self._entries[:-_MAX_MESSAGES]
        while len(self._entries) > 1 and sum(map(_characters, self._entries)) > _MAX_CHARACTERS:
            del self._entries[0]

    def remove(self, message: Message) -> None:
        """Remove a message that was added: this object, and not an equal one."""
        self._entries = [entry for entry in self._entries if entry is not message]

    def add_answer(self, answer: SpokenAnswer) -> None:
        """Add an answer. What of it was heard is read when it is needed."""
        self._entries.append(answer)

    def add_tools(self, answer: SpokenAnswer, messages: Sequence[Message]) -> None:
        """Add tool calls of the model and their results, before the answer that they belong to."""
        place = self._entries.index(answer) if answer in self._entries else len(self._entries)
        self._entries[place:place] = messages

    def add_calls(self, answer: SpokenAnswer, message: Message) -> None:
        """Add tool calls of the model whose results come later, after the answer that they belong to."""
        place = self._entries.index(answer) + 1 if answer in self._entries else len(self._entries)
        self._entries.insert(place, message)

    def messages(self, prompt: str | None = None) -> list[Message]:
        """Return the system prompt and the newest messages that fit.

        Args:
            prompt: A system prompt instead of that of the conversation.
        """
        prompt = self.prompt if prompt is None else prompt
        system = [Message("system", prompt)] if prompt else []
        said = _joined(
            entry if isinstance(entry, Message) else Message("assistant", entry.heard_text) for entry in self._entries
        )
        if self._max_tokens is None:
            return [*system, *said]
        left = self._max_tokens - sum(map(_tokens, system))
        first = len(said)
        while first and left >= (cost := _tokens(said[first - 1])):
            left -= cost
            first -= 1
        if first:  # begin with the user, and not with the result of a tool
            first = next((at for at in range(first, len(said)) if said[at].role in ("user", "system")), len(said))
        return [*system, *said[first:]]


def _joined(messages: Iterable[Message]) -> list[Message]:
    """Return the messages as models expect them.

    Texts of one author in a row are one message. The results of tool calls follow the calls. Calls without a result are
    left out, and so are results without a call.
    """
    given = list(messages)
    results = {message.tool_call_id: message for message in given if message.role == "tool"}
    joined: list[Message] = []
    for message in given:
        calls = tuple(call for call in message.tool_calls if call.id in results)
        last = joined[-1] if joined else None
        if message.role == "tool" or not (message.text or calls):
            continue
        if message.role == "user":
            joined = with_user_text(joined, message.text)
        elif message.role == "assistant" and last is not None and last.role == "assistant":
            joined[-1] = replace(last, text=f"{last.text} {message.text}".strip(), tool_calls=calls)
        else:
            joined.append(replace(message, tool_calls=calls))
        joined += [results[call.id] for call in calls]
    return joined


def _tokens(message: Message) -> int:
    arguments = sum(len(call.arguments) for call in message.tool_calls)
    return _TOKENS_PER_MESSAGE + (len(message.text) + arguments) // _CHARS_PER_TOKEN + 1
