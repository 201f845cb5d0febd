"""How well a session kept up, from its events: latency, offset of speech and picture, drift, overlaps, skipped cycles."""

from dataclasses import dataclass

import numpy as np

from sca.watch.events import CycleEnd, Event, Speech

__all__ = ["Statistics", "SyncReport"]

_HOUR_S = 3600.0
_LEAST_FOR_DRIFT = 3


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The numbers of a session; None where there is nothing to measure.

    Attributes:
        cycles: How many cycles ended, by outcome.
        skipped_share: Skipped cycles among all, 0 to 1.
        end_to_end_s_p50: Median time from the picture to the first audio, or to the first text without a voice.
        end_to_end_s_p95: Its 95th percentile.
        offset_s_p50: Median of how much later than its picture the first audio is played.
        offset_s_p95: Its 95th percentile.
        drift_s_per_hour: By how much the offset grows in an hour: the slope of a line through all of them.
        overlaps: Utterances that begin before the one before them has ended.
        utterances: How many were spoken.
        delay_s: The delay of the picture at the end.
    """

    cycles: dict[str, int]
    skipped_share: float | None
    end_to_end_s_p50: float | None
    end_to_end_s_p95: float | None
    offset_s_p50: float | None
    offset_s_p95: float | None
    drift_s_per_hour: float | None
    overlaps: int
    utterances: int
    delay_s: float | None


class Statistics:
    """Collects the events of one session. Memory grows by some numbers for each cycle that spoke."""

    def __init__(self) -> None:
        self._cycles: dict[str, int] = {}
        self._end_to_end_s: list[float] = []
        self._offsets: list[tuple[float, float]] = []
        self._delay_s: float | None = None
        self._cycle: int | None = None
        self._end_us = 0
        self._overlaps = self._utterances = 0

    def add(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case Speech():
                if event.cycle != self._cycle:
                    self._utterances += 1
                    self._overlaps += event.play_us < self._end_us
                    self._cycle = event.cycle
                end_us = event.play_us + len(event.samples) * 1_000_000 // event.sample_rate
                self._end_us = max(self._end_us, end_us)
            case CycleEnd():
                self._add_cycle(event)

    def _add_cycle(self, end: CycleEnd) -> None:
        self._cycles[end.outcome] = self._cycles.get(end.outcome, 0) + 1
        self._delay_s = end.delay_s
        if end.timings.end_to_end_s is not None:
            self._end_to_end_s.append(end.timings.end_to_end_s)
        if end.timings.offset_s is not None:
            self._offsets.append((end.at_us / 1e6, end.timings.offset_s))

    def report(self) -> SyncReport:
        """Return the numbers so far."""
        total = sum(self._cycles.values())
        offsets = [offset for _, offset in self._offsets]
        return SyncReport(
            cycles=dict(self._cycles),
            skipped_share=round(self._cycles.get("skipped", 0) / total, 4) if total else None,
            end_to_end_s_p50=_percentile(self._end_to_end_s, 50),
            end_to_end_s_p95=_percentile(self._end_to_end_s, 95),
            offset_s_p50=_percentile(offsets, 50),
            offset_s_p95=_percentile(offsets, 95),
            drift_s_per_hour=self._drift(),
            overlaps=self._overlaps,
            utterances=self._utterances,
            delay_s=None if self._delay_s is None else round(self._delay_s, 3),
        )

    def _drift(self) -> float | None:
        if len(self._offsets) < _LEAST_FOR_DRIFT:
            return None
        times, offsets = np.array(self._offsets).T
        slope, _ = np.polyfit(times - times[0], offsets, 1)
        return round(float(slope) * _HOUR_S, 3)


def _percentile(values: list[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 3) if values else None
