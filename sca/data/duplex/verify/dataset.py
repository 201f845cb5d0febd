"""Verify a data set: recompute every row, every track, every digest and the report from its files.

Sessions are verified one at a time, so memory does not grow with the data set. Only the settings beside the data are
trusted, after checking that they belong to the tokenizer that is loaded.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sca.config import PathsConfig, Settings
from sca.data.duplex.audio.codec_targets import CODEBOOKS
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.report.summary import make_report
from sca.data.duplex.storage.build_settings import differences, made_with, read_settings, settings_of, tokenizer_of
from sca.data.duplex.storage.detect import (
    Export,
    StoredRow,
    StoredSession,
    broken_files,
    grid_export_of,
    splits_of,
    stored_rows,
    stored_sessions,
)
from sca.data.duplex.storage.writer import features
from sca.data.duplex.verify.check_table import Check, Problems, Verification, make_checks
from sca.data.duplex.verify.evidence import evidence_problems
from sca.data.duplex.verify.folder.derived_files import folder_problems
from sca.data.duplex.verify.sessions import SessionVerifier
from sca.data.runs.ledger import LedgerEntry
from sca.data.runs.progress import NullProgress, ProgressListener
from sca.data.runs.summary import Outcome
from sca.errors import InputError
from sca.textutil import counted, first_line
from sca.units import HEARD_HZ, samples_to_seconds
from sca.version import __version__

__all__ = ["verify"]

# Fields that cannot be recomputed: the version of the builder, what was skipped, the results of alignment models, the
# tags of the transcripts. The structural leak is measured by the verification only.
_NOT_RECOMPUTED = (
    *("sca_version", "leak.structural_s", "skipped", "notices", "sessions.dropped", "sessions.failed"),
    *("alignment.utterances", "alignment.aligned", "alignment.fallbacks", "tags"),
    *("evidence", "text_rate"),  # evidence is compared with a tolerance
)


def verify(root: Path, *, cache_dir: Path | None = None, listener: ProgressListener | None = None) -> Verification:
    """Verify the data set at `root`, an Arrow folder or an export that keeps the grid.

    Args:
        root: The data set.
        cache_dir: Where tokenizers are cached; by default the cache folder of the settings.
        listener: Receives the progress; its items are sessions.

    Returns:
        The recomputed report, and everything that is broken.

    Raises:
        InputError: `root` is not a data set.
        UpstreamError: Its tokenizer cannot be loaded.

    Example:
        >>> from pathlib import Path
        >>> from sca.data.duplex.verify.dataset import verify
        >>> result = verify(Path("my_data"))
        >>> result.holds, result.problems
        (True, [])
        >>> [check.name for check in result.checks if not check.holds]
        []
    """
    export = grid_export_of(root)
    build_settings = read_settings(root)
    settings = settings_of(build_settings)
    if cache_dir is not None:
        settings = settings.model_copy(update={"paths": PathsConfig(cache_dir=cache_dir)})
    tokenizer = tokenizer_of(settings)
    problems = Problems()
    for difference in differences(build_settings, made_with(settings, tokenizer)):
        problems.add("files", f"settings.json: {difference}")
    for problem in broken_files(root, export):
        problems.add("files", problem)
    verifier = SessionVerifier(settings, tokenizer, problems)
    sessions = stored_sessions(root, export)
    listener = listener or NullProgress()
    listener.on_start(len(sessions), len(sessions), 0.0)
    rows = {split: _RowStream(_rows(root, export, split, settings, problems)) for split in splits_of(root, export)}
    results = list(_verify_sessions(sessions, rows, verifier, problems, listener))
    _check_leftover_rows(rows, problems)
    _check_speakers(results, problems)
    report = make_report(settings, build_settings, __version__, results, [], verifier.causality.leak_s)
    has_audio = all(session.has_audio for session in sessions)
    _check_report(root, report, problems, has_audio=has_audio)
    chunk_s = float(settings.grid.chunk_s)
    for problem in folder_problems(root, export, report, chunk_s, [session.name for session in sessions]):
        problems.add("files", problem)
    checks = make_checks(report, problems, settings.grid, verifier.causality.rows)
    if settings.duplex.codes != "none" and has_audio:
        frames = f"{verifier.codec_frames} frames × {CODEBOOKS} codebooks"
        checks.insert(1, Check("codec targets", frames, not problems.by_kind["codes"]))
    return Verification(root, report, problems.messages, checks)


def _verify_sessions(
    sessions: list[StoredSession],
    rows: dict[str, "_RowStream"],
    verifier: SessionVerifier,
    problems: Problems,
    listener: ProgressListener,
) -> Iterator[SessionResult]:
    def take_rows(session_id: str) -> dict[str, list[StoredRow]]:
        return {split: taken for split, stream in rows.items() if (taken := stream.take(session_id))}

    before = ""
    for session in sessions:
        try:
            result = verifier.verify(session, take_rows)
        except InputError as error:
            problems.add("audio", error.message)
            continue
        if result.session_id <= before:
            problems.add("audio", f"storage: session {result.session_id} is out of order, after {before}")
        before = result.session_id
        entry = LedgerEntry(result.session_id, "", "verified")
        listener.on_item_end(Outcome(entry, samples_to_seconds(result.samples, HEARD_HZ)))
        yield result


def _rows(root: Path, export: Export | None, split: str, settings: Settings, problems: Problems) -> Iterator[StoredRow]:
    columns = list(features("rows"))
    for row in stored_rows(root, export, split, settings.grid, lambda message: problems.add("audio", message)):
        if list(row.record) != columns:
            raise InputError(
                f"{root}: {split} does not have the columns of a duplex data set", hint="build the data set again"
            )
        yield row


class _RowStream:
    """The rows of a split in file order, taken session by session."""

    def __init__(self, rows: Iterator[StoredRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def take(self, session_id: str) -> list[StoredRow]:
        """Return the next rows if they belong to this session."""
        taken = []
        while self._next is not None and self._next.record["session_id"] == session_id:
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken

    def rest(self) -> list[str]:
        """Return the ids of all rows that were not taken."""
        rest = [] if self._next is None else [self._next.record["row_id"]]
        return rest + [row.record["row_id"] for row in self._rows]


def _check_leftover_rows(rows: dict[str, _RowStream], problems: Problems) -> None:
    left = [row_id for stream in rows.values() for row_id in stream.rest()]
    if left:
        problems.add(
            "rows",
            f"{counted(len(left), 'row')} of no session in storage, or out of order; the first is {left[0]}",
        )


def _check_speakers(results: list[SessionResult], problems: Problems) -> None:
    """Verify that no speaker is in several splits."""
    split_of: dict[str, str] = {}
    for result in results:
        for speaker in result.speakers:
            if split_of.setdefault(speaker, result.split) != result.split:
                problems.add(
                    "rows", f"{result.session_id}: speaker {speaker} is in {split_of[speaker]} and in {result.split}"
                )


def _check_report(root: Path, found: Report, problems: Problems, *, has_audio: bool) -> None:
    """Compare the stored report with the recomputed one."""
    try:
        text = (root / "report.json").read_text(encoding="utf-8")
        stored = Report.model_validate(json.loads(text))
    except FileNotFoundError:
        problems.add("report", "report.json is missing")
        return
    except (OSError, ValueError, ValidationError) as error:
        problems.add("report", f"report.json cannot be read: {first_line(error)}")
        return
    for problem in evidence_problems(stored.evidence, found.evidence):
        problems.add("report", f"report.json: {problem}")
    ignored = _NOT_RECOMPUTED if has_audio else (*_NOT_RECOMPUTED, "storage_digest")
    for difference in differences(_without(stored, ignored), _without(found, ignored)):
        problems.add("report", f"report.json: {difference}")


def _without(report: Report, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a report as a JSON document, without the fields of these dotted names."""
    document: dict[str, Any] = report.model_dump(mode="json")
    for name in names:
        *parents, leaf = name.split(".")
        part = document
        for parent in parents:
            part = part[parent]
        part.pop(leaf)
    return document
