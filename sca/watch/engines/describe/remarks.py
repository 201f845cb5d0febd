"""Sentences that wait to be spoken."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Remark", "Remarks", "Topic"]

Topic = Literal["score", "text", "cut", "light", "motion"]
"""What a sentence is about, the most important first."""

_IMPORTANCE: dict[Topic, int] = {"score": 0, "text": 1, "cut": 2, "light": 3, "motion": 4}
_VALID_US: dict[Topic, int] = {
    "score": 60_000_000,
    "text": 20_000_000,
    "cut": 4_000_000,
    "light": 6_000_000,
    "motion": 4_000_000,
}
"""How long a sentence may wait: an old score is still news, an old motion is not."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence.

    Attributes:
        topic: What it is about.
        text: The sentence.
        about_us: `VideoFrame.time_us` of the first picture that shows it.
    """

    topic: Topic
    text: str
    about_us: int


class Remarks:
    """The sentences of a session that are not spoken yet: one of each topic, of texts all that are different."""

    def __init__(self) -> None:
        self._waiting: list[Remark] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, remarks: Iterable[Remark]) -> None:
        """Add sentences. One replaces an earlier one of its topic; texts only replace the same text."""
        for new in remarks:
            self._waiting = [
                old for old in self._waiting if old.topic != new.topic or (new.topic == "text" and old.text != new.text)
            ]
            self._waiting.append(new)

    def expire(self, now_us: int) -> None:
        """Remove the sentences that are too old at a time of the video."""
        self._waiting = [one for one in self._waiting if now_us - one.about_us <= _VALID_US[one.topic]]

    def take(self, most: int) -> list[Remark]:
        """Remove and return sentences, the most important first; those that are left out are lost.

        Args:
            most: The largest number of sentences.
        """
        taken = sorted(self._waiting, key=lambda one: (_IMPORTANCE[one.topic], one.about_us))[:most]
        self._waiting = [] if len(taken) >= most else [one for one in self._waiting if one not in taken]
        return taken
