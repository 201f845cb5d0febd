"""Answers that repeat the last one.

An answer repeats the last one if all its words of content, in their order, are words of content of the last one: other
function words, another punctuation, or only a part of it. While an answer arrives, it is withheld only as long as it may
still be a repeat: the first new word of content releases it. Numbers, scores and clock times are words of content.
"""

import re

__all__ = ["RepeatGate", "content_words"]

_WORD = re.compile(r"\d+(?:\s*[-–—:.,]\s*\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_FUNCTION_TEXT = """
    a an the this that these those it its he she they we you i his her their our there here is are was were be been being
    has have had do does did will would can could may might of to in on at by for with from into onto over as and or but
    so then now still again currently just also very some which who while when what where how
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_TEXT.split())
_UNFINISHED = re.compile(r"(?:\d[\d\s:.,–—-]*|\S+)$")
"""The last word, or the numbers at the end: they may go on."""
_DASHES = str.maketrans("–—", "--")
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|s)$")


def content_words(text: str) -> list[str]:
    """Return the words of a text that carry its content: small letters, without English endings."""
    words = [re.sub(r"\s+", "", word.casefold()).translate(_DASHES) for word in _WORD.findall(text)]
    return [_ENDING.sub("", word) for word in words if word not in _FUNCTION_WORDS]


class RepeatGate:
    """The text of one answer, withheld while it repeats the last one.

    Args:
        last_answer: The last answer; empty for nothing.

    Attributes:
        is_open: Whether text was released.
    """

    def __init__(self, last_answer: str) -> None:
        self._last = content_words(last_answer)
        self._held = ""
        self.is_open = not self._last

    def push(self, text: str) -> str:
        """Add characters, and return those that may be shown and spoken now."""
        self._held += text
        if not self.is_open:
            self.is_open = not self._repeats(_UNFINISHED.sub("", self._held))
        if not self.is_open:
            return ""
        released, self._held = self._held, ""
        return released

    def flush(self) -> str:
        """Return the rest of the answer: nothing if it is a repeat."""
        self.is_open = self.is_open or not self._repeats(self._held)
        released, self._held = self._held if self.is_open else "", ""
        return released

    def _repeats(self, text: str) -> bool:
        left = iter(self._last)
        return all(word in left for word in content_words(text))
