"""Answers that are prepared in the pauses of a turn, before it is decided that the turn is over.

The answer to what the user has said so far is made like any other one, but nobody takes its events: no frame and no
message of the history comes from it. When the turn is over and has the same words, the answer is used. When the user
goes on, or the conversation has changed, it is withdrawn, and the next pause gets another one.
"""

import threading
import time
from collections.abc import Sequence

from sca.infer.conversation.latency import LatencyLog
from sca.infer.conversation.talk import Talk, Turn
from sca.infer.conversation.utterance import Utterance, text_of
from sca.infer.messages import Message

__all__ = ["EarlyAnswers"]


class _Early:
    """An answer that is prepared.

    Attributes:
        utterances: The speech that it answers; the last one is in progress.
        text: The text of the last one, if it was known before its end.
        turn: The answer.
        messages: The messages before it.
    """

    def __init__(self, talk: Talk, utterances: Sequence[Utterance]) -> None:
        self.utterances = tuple(utterances)
        self.text: str | None = None
        self.messages: Sequence[Message] = talk.history.messages()
        self.turn: Turn = talk.start(self._hear)

    def _hear(self, cancelled: threading.Event) -> str:
        *before, last = self.utterances
        first = text_of(before, cancelled)
        return f"{first} {last.wait_for_pause(cancelled, self._set_text)}".strip()

    def _set_text(self, text: str) -> None:
        self.text = text


class EarlyAnswers:
    """Prepares answers. One at a time is in progress.

    Args:
        talk: The conversation.
        most: The most answers to one turn of the user; 0 prepares none.
        log: Counts the answers that were used or withdrawn.
    """

    def __init__(self, talk: Talk, most: int, log: LatencyLog) -> None:
        # A tool may have effects outside the conversation, which cannot be withdrawn.
        self._most = most if talk.parts.call_tool is None else 0
        self._talk, self._log = talk, log
        self._early: _Early | None = None
        self._heard: Utterance | None = None
        self._asked = 0

    def follow(self, unheard: Sequence[Utterance], utterance: Utterance | None) -> None:
        """Prepare an answer in the next pause, and withdraw the one that the user or the conversation has overtaken.

        Args:
            unheard: Turns of the user that are over and have no answer.
            utterance: The turn in progress; None without one.
        """
        if utterance is not None and utterance is not self._heard:
            self._heard, self._asked = utterance, 0
        utterances = (*unheard, *([] if utterance is None else [utterance]))
        early = self._early
        if early is not None:
            is_same = early.utterances == utterances and early.messages == self._talk.history.messages()
            if is_same and (early.text is None or utterance is None or utterance.has_settled(early.text)):
                return
            self.withdraw()
        if utterance is not None and self._asked < self._most:
            self._early = _Early(self._talk, utterances)

    def finish(self, utterance: Utterance, silence_samples: int) -> None:
        """Decide about the answer to a turn that is over.

        Args:
            utterance: The turn, which is finished.
            silence_samples: The silence at its end.
        """
        early = self._early
        if early is None or early.text is None:  # else the answer waits for the final text
            return
        if early.utterances[-1] is not utterance or not utterance.settle(early.text, silence_samples):
            self.withdraw()

    def take(self, unheard: Sequence[Utterance]) -> Turn | None:
        """Return the answer to some turns of the user if it was prepared; it is released now."""
        early = self._early
        if early is None:
            return None
        if early.utterances != tuple(unheard) or early.messages != self._talk.history.messages():
            self.withdraw()
            return None
        self._early = None
        if early.text is not None:
            self._log.early["used"] += 1
        early.turn.answer.times.started_s = time.monotonic()
        return early.turn

    def withdraw(self) -> None:
        """End the answer that is prepared. The conversation has nothing of it."""
        early, self._early = self._early, None
        if early is None:
            return
        early.turn.answer.cancel()
        if early.text:
            self._asked += 1
            self._log.early["withdrawn"] += 1
