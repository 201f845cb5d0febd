"""The state of a conversation that devices, servers and programs share: history, voice, and the answers in order."""

import threading
from collections.abc import Callable

from sca.infer.conversation.answer import Answer, AnswerEvent, Done, Heard, Sound, Text, ToolsUsed, VoiceLine
from sca.infer.conversation.history import History
from sca.infer.conversation.parts import ConversationParts
from sca.infer.conversation.spoken import SpokenAnswer

__all__ = ["Talk", "Turn"]


class Turn:
    """A turn of the assistant.

    Attributes:
        answer: The answer in the making.
        spoken: Its text and sound so far.
        user_text: The text of the user; None while it is not known.
        done: Whether nothing will be added.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
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
        self.restart()
        self._voice = None if parts.open_voice is None else VoiceLine(parts.open_voice)

    def restart(self) -> None:
        """Forget all turns."""
        context = self.parts.language.context_tokens
        self.history = History(self._prompt, None if context is None else max(0, context - self.parts.answer_tokens))

    def start(self, hear: Callable[[threading.Event], str]) -> Turn:
        """Start an answer.

        Args:
            hear: Waits for the text of the user, in another thread. Its argument is set when the answer is cancelled.
        """
        return Turn(Answer(self.parts, self._voice, hear, self.history.messages()))

    def receive(self, turn: Turn, wait_s: float = 0.0) -> AnswerEvent | None:
        """Take the next event of a turn and add it to the turn and the history; None without one within `wait_s`."""
        event = turn.answer.take(wait_s)
        match event:
            case Heard(text):
                turn.user_text = text
                if text:
                    self.history.add_user(text)
                    self.history.add_answer(turn.spoken)
            case Text(text):
                turn.spoken.add_text(text)
            case Sound(pcm, words):
                turn.spoken.add_sound(pcm, words)
            case ToolsUsed(messages):
                self.history.add_tools(turn.spoken, messages)
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
