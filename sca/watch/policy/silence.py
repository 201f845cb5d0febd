"""The words of an engine for silence, withheld from listeners while they arrive in pieces."""

import re

__all__ = ["SILENCE_WORDS", "SilenceGate"]

SILENCE_WORDS = ("...", "<|silence|>", "<silence>")
"""Answers that mean silence; also with quotes and white space around them."""

_KNOWN_CHARS = 5
"""Text is withheld until more characters than these are known."""
_TAGS = tuple(word for word in SILENCE_WORDS if word.startswith("<"))
_TAG = re.compile("|".join(map(re.escape, _TAGS)))
_AROUND = " \t\r\n\"'“”‘’«»`*_-–.…()[]"
_BEFORE = " \t\r\n.…"


class SilenceGate:
    """The text of one answer without silence words.

    Attributes:
        is_open: Whether text was released.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._held = ""

    def push(self, text: str) -> str:
        """Add characters, and return those that may be shown and spoken now."""
        self._held = _TAG.sub("", self._held + text)
        if not self.is_open:
            ready = self._held[: len(self._held) - len(_begun_tag(self._held))].strip()
            if len(ready) <= _KNOWN_CHARS or not ready.strip(_AROUND):
                return ""
            self.is_open, self._held = True, self._held.lstrip(_BEFORE)
        begun = _begun_tag(self._held)
        released, self._held = self._held[: len(self._held) - len(begun)], begun
        return released

    def flush(self) -> str:
        """Return the rest of the answer: nothing if all of it is silence."""
        rest, self._held = self._held, ""
        if not self.is_open:
            rest = rest.lstrip(_BEFORE) if rest.strip(_AROUND) else ""
            self.is_open = bool(rest)
        return rest


def _begun_tag(text: str) -> str:
    """Return the end of a text that may become a silence word; empty without one."""
    at = text.rfind("<")
    tail = text[at:] if at >= 0 else ""
    return tail if tail and any(tag.startswith(tail) for tag in _TAGS) else ""
