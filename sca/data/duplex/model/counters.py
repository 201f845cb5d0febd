"""Counters of verified rows and tracks, summed over rows, sides and sessions."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["ProofCounters"]


@dataclass(slots=True)
class ProofCounters:
    """Counters that add up over rows, sides and sessions.

    errors: tokens by (slot - wanted slot).   used: chunks by text tokens in them.   counts: everything else, by name.
    """

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    used: Counter[int] = field(default_factory=Counter)

    def add(self, other: "ProofCounters") -> None:
        """Add the counts of `other`."""
        self.counts.update(other.counts)
        self.errors.update(other.errors)
        self.used.update(other.used)
