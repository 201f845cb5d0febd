"""From targets to rows: each target with as much of what was heard before it as a row may hold.

A row begins where something begins (the show, or an event), never in the middle of a word. Pure; times are samples at 16 kHz.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sca.data.shows.targets import Rules, Target
from sca.units import HEARD_HZ

__all__ = ["ShowRow", "rows_of"]


@dataclass(frozen=True, slots=True)
class ShowRow:
    """One line of `train`: `[start, end)` is heard, of which `[target_start, end)` is what is to be said."""

    session_id: str
    start: int
    end: int
    target_start: int
    text: str
    event_index: int

    def columns(self) -> dict[str, Any]:
        """The row as it is stored, in seconds."""
        return {
            "session_id": self.session_id,
            "start_sec": self.start / HEARD_HZ,
            "end_sec": self.end / HEARD_HZ,
            "target_start_sec": self.target_start / HEARD_HZ,
            "target_end_sec": self.end / HEARD_HZ,
            "target_text": self.text,
            "event_index": self.event_index,
        }


def rows_of(session_id: str, targets: Sequence[Target], rules: Rules) -> tuple[list[ShowRow], Counter[str]]:
    """Rows of a show, and why targets have none: short_target, long_target, short_row."""
    rows: list[ShowRow] = []
    counts: Counter[str] = Counter()
    begins = [target.start for target in targets]
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
            else next(begin for begin in begins if begin >= earliest)  # the target's own, at the latest
        )
        if target.end - start < rules.min_duration:
            counts["short_row"] += 1
            continue
        rows.append(ShowRow(session_id, start, target.end, target.start, target.text, index))
    return rows, counts
