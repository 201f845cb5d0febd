"""From targets to rows: each target with as much of the audio before it as a row may contain.

A row starts at the start of the show (after the cut) or at the start of an event, never inside a word. Times are
samples at 16 kHz.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sca.data.shows.model import TrainColumns
from sca.data.shows.targets import Target, TargetRules
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["ShowRow", "make_rows"]


@dataclass(frozen=True, slots=True)
class ShowRow:
    """A row of `train`: the audio `[start, end)`, of which `[target_start, end)` is the target speech."""

    session_id: str
    start: int
    end: int
    target_start: int
    text: str
    event_index: int

    def columns(self) -> TrainColumns:
        """Return the stored columns, with times in seconds."""
        end_s = samples_to_seconds(self.end, HEARD_HZ)
        return {
            "session_id": self.session_id,
            "start_sec": samples_to_seconds(self.start, HEARD_HZ),
            "end_sec": end_s,
            "target_start_sec": samples_to_seconds(self.target_start, HEARD_HZ),
            "target_end_sec": end_s,
            "target_text": self.text,
            "event_index": self.event_index,
        }


def make_rows(session_id: str, targets: Sequence[Target], rules: TargetRules) -> tuple[list[ShowRow], Counter[str]]:
    """Create the rows of a show.

    Args:
        session_id: The id of the show.
        targets: Its targets, sorted.
        rules: The thresholds.

    Returns:
        The rows; and the counts of targets without a row by reason: short_target, long_target, short_row.
    """
    rows: list[ShowRow] = []
    counts: Counter[str] = Counter()
    starts = [target.start for target in targets]
    for index, target in enumerate(targets):
        length = target.end - target.start
        if length < rules.min_speech:
            counts["short_target"] += 1
            continue
        if length > rules.max_duration:
            counts["long_target"] += 1
            continue
        earliest = target.end - rules.max_duration
        start = (
            min(rules.cut_start, target.start)
            if earliest <= rules.cut_start
            else next(start for start in starts if start >= earliest)  # at the latest, the target's own start
        )
        if target.end - start < rules.min_duration:
            counts["short_row"] += 1
            continue
        rows.append(ShowRow(session_id, start, target.end, target.start, target.text, index))
    return rows, counts
