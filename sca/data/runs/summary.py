"""What became of an item, and how a run ended."""

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from sca.data.runs.ledger import LedgerEntry
from sca.display.blocks import block, summary_line, table
from sca.textutil import counted

__all__ = ["ItemReason", "Outcome", "RunSummary"]

Details = TypeVar("Details")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item.

    Attributes:
        entry: Its line in the ledger.
        audio_s: Seconds of audio in its result.
        made: Whether this run did the work, or found it done.
    """

    entry: LedgerEntry
    audio_s: float = 0.0
    made: bool = True


class ItemReason(NamedTuple):
    """Something to report about an item."""

    item: str
    reason: str


@runtime_checkable
class _Displayed(Protocol):
    """An object with a block for notebooks."""

    def _repr_html_(self) -> str: ...


@dataclass(slots=True)
class RunSummary(Generic[Details]):
    """How a run ended.

    Attributes:
        details: What else the command reports.
        made: Items that this run did.
        already: Items that were done before.
        audio_s: Seconds of audio in the results of this run.
        dropped: Items that were left out, with reasons.
        failed: Items that failed, with reasons; includes `old_failures`.
        old_failures: The number of items that failed in an earlier run and were not tried again.
        notes: Remarks about items of this run.
    """

    details: Details
    made: int = 0
    already: int = 0
    audio_s: float = 0.0
    dropped: list[ItemReason] = field(default_factory=list)
    failed: list[ItemReason] = field(default_factory=list)
    old_failures: int = 0
    notes: list[ItemReason] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of items."""
        return self.made + self.already + len(self.dropped) + len(self.failed)

    def __repr__(self) -> str:
        counts = (f"{count} {name}" for name, count in self._counts().items())
        return summary_line("RunSummary", *counts, f"{self.audio_s:.1f} s of audio")

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the counts, the items with reasons, and the details if they have a block."""
        facts = {**self._counts(), "audio of this run": f"{self.audio_s:.1f} s"}
        parts = [
            table((name, "reason"), items, len(items))
            for name, items in (("failed", self.failed), ("dropped", self.dropped), ("note", self.notes))
        ]
        if isinstance(self.details, _Displayed):
            parts.append(self.details._repr_html_())
        return block(f"Run of {counted(self.total, 'item')}", facts, *parts)

    def _counts(self) -> dict[str, int]:
        return {
            "made": self.made,
            "done before": self.already,
            "dropped": len(self.dropped),
            "failed": len(self.failed),
        }

    def drop(self, item: str, reason: str, *, made: bool) -> None:
        """Count an item as dropped that was counted as done.

        Args:
            item: The item.
            reason: Why it is left out.
            made: Whether this run did it.
        """
        self.dropped.append(ItemReason(item, reason))
        self._take_back(made=made)

    def fail(self, item: str, reason: str, *, made: bool) -> None:
        """Count an item as failed that was counted as done.

        Args:
            item: The item.
            reason: Why it failed.
            made: Whether this run did it.
        """
        self.failed.append(ItemReason(item, reason))
        self._take_back(made=made)

    def _take_back(self, *, made: bool) -> None:
        if made:
            self.made -= 1
        else:
            self.already -= 1

    def add(self, outcome: Outcome) -> None:
        """Count an item."""
        entry = outcome.entry
        if entry.status == "failed":
            self.failed.append(ItemReason(entry.item, entry.reason or ""))
            return
        if outcome.made:
            self.notes += [ItemReason(entry.item, note) for note in entry.notes]
        if entry.status == "dropped":
            self.dropped.append(ItemReason(entry.item, entry.reason or ""))
        elif outcome.made:
            self.made += 1
            self.audio_s += outcome.audio_s
        else:
            self.already += 1
