"""What `sca verify` found, as a table: one line a kind of promise, with the numbers behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.duplex.model.report import Report
from sca.textutil import counted
from sca.units import Grid, encoder_tokens

__all__ = ["Check", "Verification", "checks_of"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the proof: what was looked at, what was found, whether it holds."""

    name: str
    found: str
    holds: bool


@dataclass(slots=True)
class Verification:
    """The outcome. `problems` is every single thing that is broken; the data set is proven when it is empty."""

    root: Path
    report: Report | None
    problems: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems


def checks_of(report: Report, broken: Mapping[str, int], grid: Grid, causal_rows: int) -> list[Check]:
    """The table. broken: problems by kind (audio, rows, causal, report).   causal_rows: rows whose causality was tried."""
    placement, leak, coverage, chunks = report.placement, report.leak, report.coverage, report.chunks
    sessions = report.sessions
    left_out = coverage.words - coverage.words_in_rows
    error = f"{placement.mean_error_s:.3f} s mean, {placement.p95_error_s:.2f} s p95"
    extremes = f"{placement.max_late_s:.2f} s late, {placement.max_early_s:.2f} s early at most"
    return [
        Check(
            "audio",
            f"{counted(sessions.kept, 'session')}, {counted(sessions.tracks, 'track')}, {sessions.hours:.3f} h",
            not broken["audio"],
        ),
        Check(
            "rows: pattern, ids, text, words",
            f"{counted(report.rows, 'row')}, {counted(sum(report.segments.values()), 'segment')}",
            not broken["rows"],
        ),
        Check("tokens dropped", str(coverage.tokens_dropped), coverage.tokens_dropped == 0),
        Check(
            "speech covered",
            f"{coverage.share:.2%} ({coverage.words_in_rows} of {counted(coverage.words, 'word')})",
            left_out == 0 or coverage.units_dropped_on_request > 0,
        ),
        Check(
            "encoder parity",
            f"{counted(chunks.chunks, 'chunk')} × {counted(chunks.encoder_tokens_per_chunk, 'token')}",
            encoder_tokens(grid.mel_frames) == chunks.encoder_tokens_per_chunk,
        ),
        Check(
            "leak, structural", f"{leak.structural_s:.3f} s ({counted(causal_rows, 'row')} tried)", not broken["causal"]
        ),
        Check(
            "leak, by placement",
            f"{counted(leak.placement_tokens, 'token')}; {leak.lagged_tokens} that lag ({leak.lagged_s:.2f} s)",
            leak.placement_tokens == 0,
        ),
        Check("token-time error", error, not broken["rows"]),
        Check("", extremes, not broken["rows"]),
        Check("report and digests", report.rows_digest[:12], not broken["report"]),
    ]
