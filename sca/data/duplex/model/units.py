"""Units of speech and their words.

A unit is the speech of one speaker without a longer pause. Times are samples at 16 kHz from the start of the session.
"""

from dataclasses import dataclass

from sca.data.duplex.model.spans import Span

__all__ = ["Unit", "UnitWord"]


@dataclass(frozen=True, slots=True)
class UnitWord:
    """A word of a unit.

    Attributes:
        text: The word as written in the unit's text.
        char_start: Index of its first character in the unit's text.
        char_end: Index after its last character.
        start: First sample.
        end: One past the last sample.
        source: Origin of the times: given, interpolated, whisper or ctc.
    """

    text: str
    char_start: int
    char_end: int
    start: int
    end: int
    source: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of speech. Its words cover every character of `text` except spaces."""

    text: str
    words: tuple[UnitWord, ...]

    @property
    def start(self) -> int:
        """First sample."""
        return self.words[0].start

    @property
    def end(self) -> int:
        """One past the last sample."""
        return max(word.end for word in self.words)

    @property
    def span(self) -> Span:
        """Samples `[start, end)`."""
        return self.start, self.end
