"""Units of speech and their words, in samples at 16 kHz."""

from dataclasses import dataclass

__all__ = ["Unit", "UnitWord"]


@dataclass(frozen=True, slots=True)
class UnitWord:
    """A word: its characters `[at, until)` of its unit's text, its samples `[start, end)` at 16 kHz, where the times are from."""

    text: str
    at: int
    until: int
    start: int
    end: int
    source: str


@dataclass(frozen=True, slots=True)
class Unit:
    """What one speaker says without a longer pause. `words` cover every character of `text` that is not a space."""

    text: str
    words: tuple[UnitWord, ...]

    @property
    def start(self) -> int:
        """First sample, at 16 kHz."""
        return self.words[0].start

    @property
    def end(self) -> int:
        """One past the last sample, at 16 kHz."""
        return max(word.end for word in self.words)
