"""Verify a data set: recompute every row, every track, every digest and the report from its files.

A worker has one session at a time, so memory does not grow with the data set. Only the settings beside the data are
trusted, after checking that they belong to the tokenizer that is loaded.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sca.config import PathsConfig, Settings
from sca.data.duplex.audio.codec_targets import CODEBOOKS
from sca.data.duplex.model.left_out import LeftOutRow
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.report.summary import make_report
from sca.data.duplex.storage.build_settings import (
    differences,
    made_with,
    read_settings,
    recorded_speaker,
    settings_of,
    tokenizer_of,
    with_new_settings,
)
from sca.data.duplex.storage.detect import (
    Export,
    StoredSession,
    broken_files,
    grid_export_of,
    splits_of,
    stored_sessions,
)
from sca.data.duplex.verify.audio.embedding import SpeakerModelUsed, shared_embeddings
from sca.data.duplex.verify.audio.recordings import RecordingsFound
from sca.data.duplex.verify.audio.speaker_model import speaker_model_of
from sca.data.duplex.verify.check_table import Check, Problems, Verification, embeddings_check, make_checks
from sca.data.duplex.verify.evidence import evidence_problems
from sca.data.duplex.verify.folder.derived_files import folder_problems
from sca.data.duplex.verify.session_rows import arrow_rows, exported_rows
from sca.data.duplex.verify.sessions import SessionJob, SessionOrigin, VerifiedSession, verify_session
from sca.data.runs.executor import Executor, UnexpectedError, WorkerDiedError, guarded
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor, SerialExecutor
from sca.data.runs.progress import NullProgress, ProgressListener
from sca.data.runs.summary import Outcome
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.distribution import __version__
from sca.errors import InputError, OutputError, ScaError
from sca.textutil import counted, first_line
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["verify"]

# Fields that cannot be recomputed: the version of the builder, what was skipped, the results of alignment models, the
# tags of the transcripts. The structural leak is measured by the verification only.
_NOT_RECOMPUTED = (
    *("sca_version", "leak.structural_s", "skipped", "notices", "sessions.dropped", "sessions.failed"),
    *("alignment.utterances", "alignment.aligned", "alignment.fallbacks", "tags"),
    *("evidence", "skipped_first"),  # evidence is compared with a tolerance
)
# Reports of earlier versions do not have them.
_ADDED = ("sources", "by_split", "bleed.sessions", "text_rate")

# Starting worker processes takes longer than verifying less audio than this.
_WORKERS_FROM_BYTES = 64 << 20
_Ended = VerifiedSession | ScaError


def verify(
    root: Path,
    *,
    cache_dir: Path | None = None,
    origin: Mapping[str, SessionOrigin] | None = None,
    speaker: str | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    listener: ProgressListener | None = None,
) -> Verification:
    """Verify the data set at `root`, an Arrow folder or an export that keeps the grid.

    Args:
        root: The data set.
        cache_dir: Where tokenizers are cached; by default the cache folder of the settings.
        origin: The sessions of its corpus by id, see `sca.data.duplex.origin.rebuild.sessions_of_corpus`. Without it, the
            recordings that are still where the build found them are compared by their SHA-256.
        speaker: The speaker model of the data set, to compute its embeddings again. By default, the one that the build
            used if it is still on this machine.
        jobs: Processes; 0 is one per core for data sets that are large enough. Exports are read in one process.
        executor: Where the sessions are verified; by default in `jobs` processes.
        listener: Receives the progress; its items are sessions.

    Returns:
        The recomputed report, and everything that is broken.

    Raises:
        InputError: `root` is not a data set, or `speaker` is not a speaker model.
        UsageError: `speaker` is given for a data set without embeddings, or has another form.
        MissingToolError: `speaker` does not exist.
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
    expected = with_new_settings(made_with(settings, tokenizer, recorded_speaker(build_settings)))
    for difference in differences(with_new_settings(build_settings), expected):
        problems.add("files", f"settings.json: {difference}")
    for problem in broken_files(root, export):
        problems.add("files", problem)
    model = speaker_model_of(root, settings, build_settings, speaker, partial(problems.add, "files"))
    splits = splits_of(root, export)
    sessions = stored_sessions(root, export)
    verified = _verify_sessions(
        root, export, splits, sessions, settings, problems, _Runner(jobs, executor, listener, origin, model)
    )
    results = [session.result for session in verified]
    _check_speakers(results, problems)
    leak_s = max((session.leak_s for session in verified), default=0.0)
    report = make_report(settings, build_settings, __version__, results, [], leak_s)
    has_audio = all(session.has_audio for session in sessions)
    _check_report(root, report, problems, has_audio=has_audio)
    chunk_s = float(settings.grid.chunk_s)
    for problem in folder_problems(root, export, report, chunk_s, [session.name for session in sessions]):
        problems.add("files", problem)
    checks = make_checks(report, problems, settings.grid, sum(session.causal_rows for session in verified))
    checks.append(_source_check(root, verified, problems, origin))
    if settings.duplex.speaker_model != NO_SPEAKER_MODEL:
        tracks = [track for session in verified for track in session.embeddings]
        checks.insert(1, embeddings_check(settings.duplex.speaker_model, tracks, model, problems, has_audio=has_audio))
    if settings.duplex.codes != "none" and has_audio:
        frames = f"{sum(session.codec_frames for session in verified)} frames × {CODEBOOKS} codebooks"
        checks.insert(1, Check("codec targets", frames, not problems.by_kind["codes"]))
    return Verification(root, report, problems.messages, checks)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Where sessions are verified, who receives the progress, and what they are compared with."""

    jobs: int
    executor: Executor | None
    listener: ProgressListener | None
    origin: Mapping[str, SessionOrigin] | None
    speaker: SpeakerModelUsed | None

    def origin_of(self, session: str) -> SessionOrigin | None:
        """Return the session in the corpus; for a retimed copy, the session that it is made from."""
        origin = self.origin or {}
        return origin.get(session) or origin.get(session.rpartition("+")[0])

    def run(self, jobs: Sequence[SessionJob], settings: Settings, *, parallel: bool) -> dict[str, _Ended]:
        """Verify sessions, and return what was found by the name of the session."""
        size = sum(job.session.file.stat().st_size for job in jobs if job.session.file.exists())
        workers = self.jobs or (0 if size > _WORKERS_FROM_BYTES else 1)
        executor = (self.executor or ProcessExecutor(workers)) if parallel else SerialExecutor()
        listener = self.listener or NullProgress()
        listener.on_start(len(jobs), len(jobs), 0.0)
        ended: dict[str, _Ended] = {}
        for job, found in executor.run(jobs, partial(guarded, partial(verify_session, settings=settings))):
            # An output is a temporary file here: without space for it nothing is known about the data.
            about_data = isinstance(found, InputError | WorkerDiedError | UnexpectedError)
            about_data = about_data and not isinstance(found, OutputError)
            if isinstance(found, ScaError) and not about_data:
                raise found
            ended[job.session.name] = found
            if isinstance(found, VerifiedSession):
                entry = LedgerEntry(job.session.name, "", "verified")
                listener.on_item_end(Outcome(entry, samples_to_seconds(found.result.samples, HEARD_HZ)))
        return ended


def _verify_sessions(
    root: Path,
    export: Export | None,
    splits: Sequence[str],
    sessions: Sequence[StoredSession],
    settings: Settings,
    problems: Problems,
    runner: _Runner,
) -> list[VerifiedSession]:
    """Verify all sessions, and what must hold between them. Returns those that can be read, in order."""
    names = [session.name for session in sessions]
    rows = arrow_rows(root, splits, names) if export is None else exported_rows(root, export, splits, names, settings)
    left_out = _left_out(root)
    jobs = [
        SessionJob(
            root,
            session,
            rows.of[session.name],
            runner.origin_of(session.name),
            runner.speaker,
            tuple(left_out.get(session.name, ())),
        )
        for session in sessions
    ]
    for job in jobs if runner.origin is not None else ():
        if job.origin is None:
            problems.add("source", f"{job.session.name} is not in the corpus")
    ended = runner.run(jobs, settings, parallel=export is None)
    verified: list[VerifiedSession] = []
    before = ""
    for name in names:
        found = ended[name]
        if isinstance(found, ScaError):
            problems.add("audio", found.message if isinstance(found, InputError) else f"{name}: {found.message}")
            continue
        problems.extend(found.problems)
        if found.result.session_id <= before:
            problems.add("audio", f"storage: session {found.result.session_id} is out of order, after {before}")
        before = found.result.session_id
        verified.append(found)
    for problem in rows.problems:
        problems.add("audio", problem)
    if left := rows.rest():
        problems.add(
            "rows",
            f"{counted(len(left), 'row')} of no session in storage, or out of order; the first is {left[0]}",
        )
    for problem in shared_embeddings((session.result.session_id, session.embeddings) for session in verified):
        problems.add("embeddings", problem)
    return verified


def _left_out(root: Path) -> dict[str, list[LeftOutRow]]:
    """Return the rows that the report names as left out, by session."""
    found: dict[str, list[LeftOutRow]] = {}
    stored = _stored_report(root)
    for row in stored.left_out_rows if isinstance(stored, Report) else ():
        found.setdefault(row.row_id.partition(":")[0], []).append(row)
    return found


def _stored_report(root: Path) -> Report | str:
    """Return the content of `report.json`, or what is wrong with it."""
    try:
        return Report.model_validate(json.loads((root / "report.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return "report.json is missing"
    except (OSError, ValueError, ValidationError) as error:
        return f"report.json cannot be read: {first_line(error)}"


def _source_check(
    root: Path, verified: Sequence[VerifiedSession], problems: Problems, origin: Mapping[str, SessionOrigin] | None
) -> Check:
    """Return the line about recordings and transcripts."""
    holds = not problems.by_kind["source"]
    if origin is None:
        found = RecordingsFound()
        for session in verified:
            found.add(session.recordings)
        text = f"{found.at_hand or 'none'} of {counted(found.tracks, 'recording')} at hand"
        if found.changed:
            text += f", {found.changed} changed since the build"
        elif found.at_hand:
            text += ", as recorded (SHA-256)"
        return Check("source", f"{text}; --source compares all" if holds else text, holds, look=found.changed > 0)
    names = {session.result.session_id for session in verified}
    other = len(origin.keys() - names - _not_kept(root))
    text = f"words and samples of {counted(len(names), 'session')} as in the corpus"
    return Check("source", f"{text}, {other} more not built" if other else text, holds, look=other > 0)


def _not_kept(root: Path) -> set[str]:
    """Return the sessions that the build dropped, and those that failed."""
    ledger = Ledger(root / "ledger.jsonl")
    try:
        return set(ledger.entries()) if ledger.path.exists() else set()
    except InputError:
        return set()  # reported by the verification of the ledger


def _check_speakers(results: list[SessionResult], problems: Problems) -> None:
    """Verify that no speaker is in several splits."""
    split_of: dict[str, str] = {}
    for result in results:
        if result.left_out and not result.rows:
            continue  # nothing is left of it in any split
        for speaker in result.speakers:
            if split_of.setdefault(speaker, result.split) != result.split:
                problems.add(
                    "rows", f"{result.session_id}: speaker {speaker} is in {split_of[speaker]} and in {result.split}"
                )


def _check_report(root: Path, found: Report, problems: Problems, *, has_audio: bool) -> None:
    """Compare the stored report with the recomputed one."""
    stored = _stored_report(root)
    if isinstance(stored, str):
        problems.add("report", stored)
        return
    for problem in evidence_problems(stored.evidence, found.evidence):
        problems.add("report", f"report.json: {problem}")
    ignored = [*_NOT_RECOMPUTED, *([] if has_audio else ["storage_digest"])]
    ignored += [name for name in _ADDED if attrgetter(name)(stored) is None]
    for difference in differences(_without(stored, ignored), _without(found, ignored)):
        problems.add("report", f"report.json: {difference}")


def _without(report: Report, names: Sequence[str]) -> dict[str, Any]:
    """Return a report as a JSON document, without the fields of these dotted names."""
    document: dict[str, Any] = report.model_dump(mode="json")
    for name in names:
        *parents, leaf = name.split(".")
        part = document
        for parent in parents:
            part = part[parent]
        part.pop(leaf)
    return document
