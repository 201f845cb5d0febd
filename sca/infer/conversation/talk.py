"""The state of a conversation that devices, servers and programs share: history, voice, and the answers in order."""

import threading
from collections.abc import Callable

from sca.infer.conversation.answer import (
    Answer,
    AnswerEvent,
    Done,
    Heard,
    Sound,
    Text,
    ToolsCalled,
    ToolsUsed,
    VoiceLine,
)
from sca.infer.conversation.history import History
from sca.infer.conversation.parts import ConversationParts
from sca.infer.conversation.spoken import SpokenAnswer
from sca.infer.messages import Message, ReplyOptions, ToolCall, ToolSchema
from sca.infer.requests import AddMessage, AnswerRequest, Configure, RemoveMessage

__all__ = ["Talk", "Turn"]


class Turn:
    """A turn of the assistant.

    Attributes:
        answer: The answer in the making.
        spoken: Its text and sound so far.
        user_text: The text of the user; None while it is not known.
        done: Whether nothing will be added.
        in_history: Whether the turn is part of the conversation.
        calls: The tools that the client has to call.
    """

    def __init__(self, answer: Answer, *, in_history: bool = True) -> None:
        self.answer, self.in_history = answer, in_history
        self.calls: tuple[ToolCall, ...] = ()
        self.spoken = SpokenAnswer()
        self.user_text: str | None = None
        self.done = False


class Talk:
    """A conversation. One thread uses it, and never waits here.

    Args:
        parts: Recognizer, language model, voice, tools.
        prompt: The system prompt.
    """

    def __init__(self, parts: ConversationParts, prompt: str) -> None:
        self.parts, self._prompt = parts, prompt
        self._client_tools: tuple[ToolSchema, ...] = ()
        self._options = ReplyOptions()
        self.restart()
        self._voice = None if parts.open_voice is None else VoiceLine(parts.open_voice)

    def restart(self) -> None:
        """Forget all turns."""
        context = self.parts.language.context_tokens
        self.history = History(self._prompt, None if context is None else max(0, context - self.parts.answer_tokens))
        self._added: dict[str, Message] = {}

    def configure(self, settings: Configure) -> None:
        """Change the system prompt and the voice, and set the tools and options of all answers."""
        if settings.instructions is not None:
            self._prompt = self.history.prompt = settings.instructions
        self._client_tools, self._options = settings.tools, settings.options
        parts = self.parts.with_voice(settings.voice)
        if self._voice is not None and parts.open_voice is not None and parts.voice != self.parts.voice:
            self._voice.change(parts.open_voice)
        self.parts = parts

    def add(self, added: AddMessage) -> None:
        """Add a message of the client."""
        self.history.add(added.message)
        if added.id:
            self._added[added.id] = added.message

    def remove(self, removed: RemoveMessage) -> None:
        """Remove a message that the client added."""
        message = self._added.pop(removed.id, None)
        if message is not None:
            self.history.remove(message)

    def start(self, hear: Callable[[threading.Event], str] | None, request: AnswerRequest | None = None) -> Turn:
        """Start an answer.

        Args:
            hear: Waits for the text of the user, in another thread. Its argument is set when the answer is cancelled.
                None answers the conversation as it is.
            request: What this answer has of its own.
        """
        request = AnswerRequest("") if request is None else request
        tools = self._client_tools if request.tools is None else request.tools
        parts = self.parts.with_tools(tools, None) if tools or request.tools is not None else self.parts
        messages = self.history.messages(request.instructions)
        if request.messages is not None:
            messages = [*(message for message in messages[:1] if message.role == "system"), *request.messages]
        options = self._options if request.options is None else request.options
        answer = Answer(parts, self._voice if request.is_spoken else None, hear, messages, options)
        turn = Turn(answer, in_history=request.in_conversation)
        if hear is None and turn.in_history:
            self.history.add_answer(turn.spoken)
        return turn

    def receive(self, turn: Turn, wait_s: float = 0.0) -> AnswerEvent | None:
        """Take the next event of a turn and add it to the turn and the history; None without one within `wait_s`."""
        event = turn.answer.take(wait_s)
        match event:
            case Heard(text):
                turn.user_text = text
                if text and turn.in_history:
                    self.history.add_user(text)
                    self.history.add_answer(turn.spoken)
            case Text(text):
                turn.spoken.add_text(text)
            case Sound(pcm, words):
                turn.spoken.add_sound(pcm, words)
            case ToolsUsed(messages):
                self.history.add_tools(turn.spoken, messages)
            case ToolsCalled(message):
                turn.calls = message.tool_calls
                if turn.in_history:
                    self.history.add_calls(turn.spoken, message)
            case Done():
                turn.done = turn.spoken.complete = True
        return event

    def cut(self, turn: Turn, played_samples: int) -> None:
        """End a turn early: the history has what of it was played."""
        turn.answer.cancel()
        turn.done = True
        turn.spoken.set_played(played_samples)

    def close(self) -> None:
        """Release the voice."""
        if self._voice is not None:
            self._voice.close()
