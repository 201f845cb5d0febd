"""The written answers of a cascade session: several may be in progress, beside a spoken one."""

import threading
from collections.abc import Callable

from sca.infer.conversation.answer import Done, Failed, Heard, Text
from sca.infer.conversation.talk import Talk, Turn
from sca.infer.frames import Frame, UserText, WrittenEnd, WrittenText
from sca.infer.requests import AnswerRequest

__all__ = ["WrittenAnswers"]


class WrittenAnswers:
    """The written answers in progress.

    Args:
        talk: The conversation.
    """

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._turns: dict[str, Turn] = {}
        self._errors: dict[str, str] = {}

    def start(self, request: AnswerRequest, hear: Callable[[threading.Event], str] | None) -> None:
        """Start an answer.

        Args:
            request: The request.
            hear: See `Talk.start`.
        """
        self._turns[request.id] = self._talk.start(hear, request)

    def receive(self, now: int) -> list[Frame]:
        """Return what the answers add.

        Args:
            now: The time.
        """
        frames: list[Frame] = []
        for answer_id, turn in list(self._turns.items()):
            while not turn.done and (event := self._talk.receive(turn)) is not None:
                match event:
                    case Heard(text):
                        frames.append(UserText(text, now))
                    case Text(text):
                        frames.append(WrittenText(answer_id, text))
                    case Failed(error):
                        self._errors[answer_id] = error.message
                    case Done():
                        frames.append(WrittenEnd(answer_id, turn.calls, self._errors.pop(answer_id, None)))
                        del self._turns[answer_id]
        return frames

    def cancel(self, answer_id: str) -> None:
        """End an answer. The conversation has its text so far."""
        turn = self._turns.pop(answer_id, None)
        if turn is not None:
            turn.spoken.complete = True
            self._talk.cut(turn, 0)

    def cancel_all(self, *, only_in_history: bool = False) -> None:
        """End all answers.

        Args:
            only_in_history: Except those that are no part of the conversation.
        """
        for answer_id, turn in list(self._turns.items()):
            if turn.in_history or not only_in_history:
                self.cancel(answer_id)
