"""How many text tokens a chunk needs room for: counts of late tokens for every number, and the number to use."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MAX_TOKENS_PER_CHUNK", "TextRateCounters"]

MAX_TOKENS_PER_CHUNK = 16
"""The largest number that is tried: 50 tokens a second."""

_MAX_LATE = 0.05
_MAX_VERY_LATE = 0.01
_MAX_MEAN_ERROR_S = 0.06


@dataclass(slots=True)
class TextRateCounters:
    """Counts over the units of speakers. Those by number of tokens per chunk leave out numbers with a count of zero.

    Attributes:
        tokens: Text tokens.
        spoken_samples: Length of the units, in samples at 16 kHz.
        late: Tokens after the chunk they should be in.
        very_late: Tokens more than one chunk after it.
        off: Distance from it in chunks, summed over tokens that are early or late.
    """

    tokens: int = 0
    spoken_samples: int = 0
    late: Counter[int] = field(default_factory=Counter)
    very_late: Counter[int] = field(default_factory=Counter)
    off: Counter[int] = field(default_factory=Counter)

    def add(self, other: "TextRateCounters") -> None:
        """Add the counts of `other`."""
        self.tokens += other.tokens
        self.spoken_samples += other.spoken_samples
        self.late.update(other.late)
        self.very_late.update(other.very_late)
        self.off.update(other.off)

    def late_share(self, number: int) -> float:
        """Return the share of tokens that are late if a chunk has this number of tokens."""
        return self.late[number] / max(1, self.tokens)

    def in_time(self, number: int) -> bool:
        """Return whether at most 5 % of the tokens are late, and at most 1 % by more than a chunk."""
        return self.late_share(number) <= _MAX_LATE and self.very_late[number] <= _MAX_VERY_LATE * self.tokens

    def advised(self, chunk_s: float) -> int | None:
        """Return the smallest number that is in time with a mean error of at most 0.06 s, or None."""
        for number in range(1, MAX_TOKENS_PER_CHUNK + 1):
            if self.in_time(number) and self.off[number] * chunk_s <= _MAX_MEAN_ERROR_S * self.tokens:
                return number
        return None

    def to_json(self) -> dict[str, object]:
        """Convert to JSON-ready values."""
        by_number = {name: sorted(getattr(self, name).items()) for name in ("late", "very_late", "off")}
        return {"tokens": self.tokens, "spoken_samples": self.spoken_samples, **by_number}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "TextRateCounters":
        """Convert back from `to_json`.

        Raises:
            KeyError, TypeError, ValueError: The document is not one that `to_json` wrote.
        """
        late, very_late, off = (Counter(dict(document[name])) for name in ("late", "very_late", "off"))
        return cls(document["tokens"], document["spoken_samples"], late, very_late, off)
