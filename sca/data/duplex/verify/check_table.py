"""The result of a verification: problems, and a table with one line per kind of check."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sca.data.duplex.model.evidence import EvidenceReport, Finding
from sca.data.duplex.model.report import Report
from sca.data.duplex.report.wording import (
    interpolated_share,
    placement_leak,
    placement_name,
    unlabelled_text,
    word_times,
)
from sca.data.duplex.verify.audio.embedding import EmbeddedTrack, SpeakerModelUsed
from sca.data.speakers.base import public_name
from sca.display.blocks import block, summary_line, table
from sca.textutil import counted
from sca.units import Grid, encoder_tokens

__all__ = [
    "Check",
    "ProblemKind",
    "Problems",
    "Verification",
    "embeddings_check",
    "evidence_checks",
    "make_checks",
]

ProblemKind = Literal["files", "audio", "embeddings", "codes", "rows", "causality", "report", "source"]


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the table.

    Attributes:
        name: What was checked.
        found: What was found.
        holds: Whether it is correct.
        look: Whether it is something to look at. Only of lines that hold.
    """

    name: str
    found: str
    holds: bool
    look: bool = False


@dataclass(slots=True)
class Problems:
    """Problems in the order in which they were found, and their number by kind."""

    messages: list[str] = field(default_factory=list)
    by_kind: Counter[ProblemKind] = field(default_factory=Counter)

    def add(self, kind: ProblemKind, message: str) -> None:
        """Add a problem."""
        self.messages.append(message)
        self.by_kind[kind] += 1

    def extend(self, others: "Problems") -> None:
        """Add other problems after these."""
        self.messages += others.messages
        self.by_kind.update(others.by_kind)


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying a data set.

    Attributes:
        root: The data set.
        report: The report recomputed from its files.
        problems: One message for everything that is broken.
        checks: The result as a table.
    """

    root: Path
    report: Report
    problems: list[str]
    checks: list[Check]

    @property
    def holds(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems

    def __repr__(self) -> str:
        found = "holds" if self.holds else counted(len(self.problems), "problem")
        return summary_line("Verification", self.root, found, counted(len(self.findings), "place") + " to look at")

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the table of checks, and the problems."""
        facts = {"result": "holds" if self.holds else "broken", "places to look at": len(self.findings)}
        marks = {True: "✓", False: "✗"}
        lines = [("▲" if check.look else marks[check.holds], check.name, check.found) for check in self.checks]
        problems = table(("problem",), [(text,) for text in self.problems], len(self.problems))
        return block(str(self.root), facts, problems, table(("", "check", "found"), lines, len(lines)))

    @property
    def findings(self) -> list[Finding]:
        """What to look at: places where words and sound do not belong together, the worst first."""
        return [] if self.report.evidence is None else self.report.evidence.findings


def make_checks(report: Report, problems: Problems, grid: Grid, causal_rows: int) -> list[Check]:
    """Return the table.

    Args:
        report: The recomputed report.
        problems: The problems found.
        grid: The grid of the data set.
        causal_rows: Rows that were tested for causality.
    """
    sessions, coverage, leak, chunks = report.sessions, report.coverage, report.leak, report.chunks
    broken = problems.by_kind
    tracks = f"{counted(sessions.kept, 'session')}, {counted(sessions.tracks, 'track')}, {sessions.hours:.3f} h"
    rows = f"{counted(report.rows, 'row')}, {counted(sum(report.segments.values()), 'segment')}"
    encoder = f"{counted(chunks.chunks, 'chunk')} × {counted(chunks.encoder_tokens_per_chunk, 'token')}"
    same_tokens = encoder_tokens(grid.mel_frames) == chunks.encoder_tokens_per_chunk
    structural = f"{leak.structural_s:.3f} s ({counted(causal_rows, 'row')} tested)"
    return [
        Check("audio", tracks, not broken["audio"]),
        Check("rows: pattern, ids, text, words", rows, not broken["rows"]),
        Check("tokens dropped", _dropped(report), coverage.tokens_dropped == 0),
        _coverage_check(report),
        *evidence_checks(report.evidence),
        *_unlabelled_checks(report, holds=not (broken["rows"] or broken["audio"])),
        Check("encoder parity", encoder, same_tokens),
        Check("leak, structural", structural, not broken["causality"]),
        _placement_leak_check(report),
        *_placement_checks(report, holds=not broken["rows"]),
        Check("report and digests", report.rows_digest[:12], not broken["report"]),
        Check("files, card and page", f"{counted(len(report.splits) + 1, 'table')}", not broken["files"]),
    ]


def _coverage_check(report: Report) -> Check:
    coverage = report.coverage
    found = f"{coverage.share:.2%} ({coverage.words_in_rows} of {counted(coverage.words, 'word')})"
    if coverage.rows_left_out:
        found += f", {counted(coverage.rows_left_out, 'row')} left out on request"
    left_out = coverage.words - coverage.words_in_rows
    on_request = coverage.units_dropped_on_request + coverage.rows_left_out
    return Check("words covered", found, left_out == 0 or on_request > 0)


def evidence_checks(evidence: EvidenceReport | None) -> list[Check]:
    """Return the line about words and sound: none for an export without the audio of tracks."""
    if evidence is None:
        return []
    words = sum(track.words_s for track in evidence.tracks)
    own = sum(track.words_s * (track.words_in_own or 0.0) for track in evidence.tracks)
    other = sum(track.words_s * (track.words_in_other or 0.0) for track in evidence.tracks)
    speech = sum(track.speech_s for track in evidence.tracks if track.speech_without_words is not None)
    wordless = sum(track.speech_s * (track.speech_without_words or 0.0) for track in evidence.tracks)
    found = (
        f"{_share(own, words)} of word time in own speech, {_share(other, words)} in the other's; "
        f"{_share(wordless, speech)} of speech without own words"
    )
    if evidence.findings:
        found += f"; {counted(len(evidence.findings), 'place')} to look at"
    return [Check("words against sound", found, holds=True, look=evidence.verdict == "look")]


def _unlabelled_checks(report: Report, *, holds: bool) -> list[Check]:
    """Return the line about speech without words, or an empty list."""
    found = unlabelled_text(report.model_dump(mode="json"))
    return [Check("unlabelled speech", found, holds)] if found != "none" else []


def _dropped(report: Report) -> str:
    coverage = report.coverage
    if not coverage.units_dropped_on_request:
        return str(coverage.tokens_dropped)
    segments = counted(coverage.units_dropped_on_request, "segment")
    total = coverage.tokens_dropped + coverage.tokens_dropped_on_request
    return f"{total}, {coverage.tokens_dropped_on_request} of them on request, with {segments} that lag"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _placement_leak_check(report: Report) -> Check:
    leak = report.leak
    found = f"{counted(leak.placement_tokens, 'token')}; {leak.lagged_tokens} that lag ({leak.lagged_s:.2f} s)"
    found = placement_leak(found, interpolated_share(report.align_source))
    return Check("leak, by placement", found, leak.placement_tokens == 0)


def _placement_checks(report: Report, *, holds: bool) -> list[Check]:
    placement, share = report.placement, interpolated_share(report.align_source)
    error = f"{placement.mean_error_s:.3f} s mean, {placement.p95_error_s:.2f} s p95"
    extremes = f"{placement.max_late_s:.2f} s late, {placement.max_early_s:.2f} s early at most"
    checks = [Check(placement_name(share), error, holds), Check("", extremes, holds)]
    if share:
        checks.append(Check("word times", word_times(share), holds))
    return checks


def embeddings_check(
    made_with: str,
    tracks: Sequence[EmbeddedTrack],
    model: SpeakerModelUsed | None,
    problems: Problems,
    *,
    has_audio: bool,
) -> Check:
    """Return the line about embeddings.

    Args:
        made_with: The name of the model in the settings of the data set.
        tracks: The tracks of all sessions.
        model: The model with which the embeddings were computed again.
        problems: The problems found.
        has_audio: Whether the tracks have their audio, which the model needs.
    """
    count = sum(track.values is not None for track in tracks)
    found = f"{count} of {counted(len(tracks), 'track')}"
    if model is not None and has_audio:
        found += f", computed again with {public_name(model.name)}"
    else:
        found += ", compared with each other"
        found += f"; --speaker {made_with} computes them again" if has_audio else ""
    return Check("speaker embeddings", found, not problems.by_kind["embeddings"])
