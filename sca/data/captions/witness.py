"""The captions of all recordings of a run: what the ledger records of each, and the totals for the report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.captions.agreement import Agreement, ReactionCounts, compare_captions, is_other_recording
from sca.data.captions.find import CaptionFile, CaptionFolder
from sca.data.captions.read import Captions, read_captions
from sca.textutil import counted, first_line
from sca.timeline import Show

__all__ = ["CaptionTotals", "CaptionWitness"]


@dataclass(slots=True)
class CaptionTotals:
    """The agreement of a run with captions.

    Attributes:
        recordings: Recordings with captions that fit.
        words: Words of both sides that agree.
        of_words: Words of both sides.
        lowest: The lowest rate of a window of 30 s, its recording, and its start in seconds.
        reactions: Counts by kind.
    """

    recordings: int = 0
    words: int = 0
    of_words: int = 0
    lowest: tuple[float, str, float] | None = None
    reactions: dict[str, ReactionCounts] = field(default_factory=dict)

    def add(self, name: str, agreement: Agreement) -> None:
        """Add a recording."""
        self.recordings += 1
        self.words += agreement.words
        self.of_words += agreement.of_words
        if agreement.lowest is not None:
            rate, start_s = agreement.lowest
            candidate = (rate, name, start_s)
            self.lowest = candidate if self.lowest is None else min(self.lowest, candidate)
        for kind, counts in agreement.reactions.items():
            self.reactions.setdefault(kind, ReactionCounts()).add(counts)

    def __str__(self) -> str:
        """Describe the totals in one line, as in a summary."""
        parts = []
        if self.of_words:
            parts.append(f"{self.words / self.of_words:.0%} of the words agree")
        if self.lowest is not None:
            rate, name, start_s = self.lowest
            parts.append(f"least in {name} at {start_s:.0f} s ({rate:.0%})")
        for kind, counts in sorted(self.reactions.items()):
            parts.append(
                f"{kind}: {counts.marked_found} of {counts.marked} marks found, "
                f"{counts.found_marked} of {counts.found} events marked"
            )
        return f"captions of {counted(self.recordings, 'recording')}: {'; '.join(parts) or 'nothing to compare'}"

    def document(self) -> dict[str, object]:
        """Return the totals for JSON."""
        return {
            "recordings": self.recordings,
            "words": round(self.words / self.of_words, 4) if self.of_words else None,
            "of_words": self.of_words,
            "lowest": self.lowest,
            "reactions": {kind: counts.document() for kind, counts in sorted(self.reactions.items())},
        }


class CaptionWitness:
    """Compares timelines with the captions of their recordings.

    Attributes:
        totals: The sums so far.
    """

    def __init__(self, folder: Path | None, is_ours: Callable[[Path, Show], bool]) -> None:
        """List the captions.

        Args:
            folder: A folder with captions of recordings that have none beside them.
            is_ours: Returns whether a file was written from the timeline itself.

        Raises:
            InputError: The folder does not exist.
        """
        self._folder = CaptionFolder(folder, is_ours)
        self.totals = CaptionTotals()

    def compare(self, recording: Path, show: Show) -> tuple[Mapping[str, object], list[str]]:
        """Compare a timeline with the captions of its recording.

        Returns:
            What the ledger records, empty without captions; and remarks.
        """
        file = self._folder.of(recording, show)
        if file is None:
            return {}, []
        try:
            captions = read_captions(file.path)
        except ValueError as error:
            return _refused(file, f"cannot be read: {first_line(error)}")
        if not captions.words and not captions.marks:
            first = f"; line {captions.problems[0].line} {captions.problems[0].reason}" if captions.problems else ""
            return _refused(file, f"has no captions{first}")
        agreement = compare_captions(show, captions, same_language=file.speaks(show.language))
        if is_other_recording(show, captions, agreement):
            assert agreement.rate is not None
            return _refused(
                file,
                f"does not fit: {agreement.rate:.0%} of the words agree, so it belongs to another recording or is in "
                "another language",
            )
        self.totals.add(show.video_id, agreement)
        facts: dict[str, object] = {"file": file.path.name, **agreement.document()}
        return facts, [f"{file.path.name}: {note}" for note in _problems(captions)]


def _refused(file: CaptionFile, reason: str) -> tuple[dict[str, object], list[str]]:
    return {"file": file.path.name, "unusable": reason}, [f"{file.path.name} {reason}; it was not used"]


def _problems(captions: Captions) -> list[str]:
    if not captions.problems:
        return []
    first = captions.problems[0]
    return [f"{counted(len(captions.problems), 'cue')} left out, the first in line {first.line} ({first.reason})"]
