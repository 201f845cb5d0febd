"""Builds one session: audio, words, rows and counts. A session is the unit of work and of resuming.

Runs the same in this process or in a worker, and writes only the files of its own session.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sca.config import DuplexConfig, Settings
from sca.data.corpora.session_source import SessionSource
from sca.data.duplex.augment.retime import offset_pool
from sca.data.duplex.build.prepare import DropError, Prepared, Preparer
from sca.data.duplex.build.tables import Side, write_rows, write_storage
from sca.data.duplex.evidence.explain import is_better
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.repair import REPAIRABLE, describe_repairs, remaining, wanted_repairs
from sca.data.duplex.model.records import RepairRecord
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.storage.records import unlabelled_of
from sca.data.runs.files import Unchanged, write_json
from sca.errors import InputError
from sca.textutil import counted
from sca.tokenizer.base import TextTokenizer

__all__ = ["UNKNOWN", "SessionJob", "build_session"]

UNKNOWN = ""
"""The digest of a file that the system could not read."""


@dataclass(frozen=True, slots=True)
class SessionJob:
    """A session to build.

    Attributes:
        source: The session in its corpus.
        key: Digest of its content, the settings and the models.
        stat: Name, size and time of its files, and the models; see `SessionResult.stat`.
        sha256: The SHA-256 of its files; `UNKNOWN` for one that the system could not read.
        repairs: Repairs by speaker that are made without looking at the evidence.
        drops: Ids of rows to leave out.
        unchanged: The identities of its files before they were read.
    """

    source: SessionSource
    key: str
    stat: list[list[str | int]]
    sha256: Mapping[Path, str]
    repairs: Mapping[str, RepairRecord] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    unchanged: tuple[Unchanged, ...] = ()

    def new_result(self) -> SessionResult:
        """Return the result of a session of which nothing is built."""
        return SessionResult(self.source.session_id, self.key, "kept", stat=self.stat, drops=list(self.drops))


def build_session(job: SessionJob, root: Path, settings: Settings, tokenizer: TextTokenizer) -> SessionResult:
    """Build the files of one session, and its record, which is written last and marks the session as done.

    Args:
        job: The session.
        root: The data set.
        settings: The settings.
        tokenizer: The tokenizer.

    Raises:
        InputError: Audio or text of the session cannot be read, or was replaced meanwhile.
        OutputError: A file cannot be written.
    """
    paths = SessionPaths(root, job.source.session_id)
    if unread := [path for path, digest in job.sha256.items() if digest == UNKNOWN]:
        # A session whose key does not have the content of a file would be the same with another content.
        raise InputError(f"{unread[0]} could not be read when the run began", hint="check the drive, then run again")
    result = job.new_result()
    conversation = job.source.read()
    shutil.rmtree(paths.scratch, ignore_errors=True)
    paths.scratch.mkdir(parents=True)
    try:
        preparer = Preparer(conversation, job.sha256, paths.scratch, settings)
        prepared = preparer.prepare(result, "given", job.repairs)
        if settings.duplex.repair == "apply":
            prepared = _repaired(prepared, preparer, job)
        result = prepared.result
        result.notices += _hidden_by_gate(prepared, settings.duplex)
        _write_tables(prepared, paths, settings, tokenizer)
    except DropError as drop:
        result.status, result.reason = "dropped", str(drop)
        for part in (paths.storage, paths.rows):
            part.unlink(missing_ok=True)
    finally:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    if settings.duplex.repair == "apply" and not result.repair_state:
        result.repair_state = "none"
    for file in job.unchanged:
        file.check()
    write_json(paths.record, result.to_json())
    return result


def _repaired(given: Prepared, preparer: Preparer, job: SessionJob) -> Prepared:
    """Return the session repaired, if its evidence calls for a repair and the repaired words follow the speech."""
    limits, session = preparer.settings.duplex, job.source.session_id
    repairs = wanted_repairs(given.as_recorded, judge(given.as_recorded, limits).findings)
    if not repairs:
        return given
    try:
        attempt = preparer.prepare(job.new_result(), "repaired", repairs)
        doubt = _doubt(given, attempt, repairs, limits)
    except DropError as drop:
        doubt = str(drop)
    if doubt is None:
        attempt.result.repairs, attempt.result.repair_state = repairs, "made"
        attempt.result.notices.append(f"{session}: repaired: {describe_repairs(session, repairs, 'done')}")
        return attempt
    given.result.repair_state = "refused"
    wanted = describe_repairs(session, repairs, "wanted")
    given.result.notices.append(f"{session}: built as given, not repaired ({wanted}): {doubt}")
    return given


def _doubt(given: Prepared, attempt: Prepared, repairs: Mapping[str, RepairRecord], limits: DuplexConfig) -> str | None:
    """Return why a repair is not to be kept, or None."""
    if left := remaining(judge(attempt.evidence, limits).findings, repairs):
        return f"then {left[0].message}"
    for before, after in zip(given.as_recorded, attempt.evidence, strict=True):
        if after.speaker in repairs and not is_better(before, after):
            share = after.words_in_own or 0.0
            return f"then {share:.0%} of the words of {after.speaker} lie in speech, which is not clearly better"
    lost = len(attempt.result.skipped) - len(given.result.skipped)
    return f"then {counted(lost, 'more line')} would be left out" if lost > 0 else None


def _hidden_by_gate(prepared: Prepared, limits: DuplexConfig) -> list[str]:
    """Return findings that the stored audio does not show any more, because the gate silenced speech."""
    left = {finding.kind for finding in judge(prepared.evidence, limits).findings}
    found = judge(prepared.as_recorded, limits).findings if prepared.as_recorded is not prepared.evidence else []
    return [
        f"{finding}{f' ({finding.repair})' if finding.repair else ''}; the gate has silenced speech because of it"
        for finding in found
        if finding.kind in REPAIRABLE - left
    ]


def _write_tables(prepared: Prepared, paths: SessionPaths, settings: Settings, tokenizer: TextTokenizer) -> None:
    if prepared.excess is not None:
        raise DropError(prepared.excess)
    result, units = prepared.result, prepared.units
    result.transfers = offset_pool(units) if len(units) == 2 else []
    files = [(audio.heard, audio.spoken) for audio in prepared.files]
    write_storage(paths, prepared.records, files, settings, result)
    sides = [
        Side(record["speaker_id"], own if track.transcript is not None else None, spans, unlabelled_of(record))
        for track, record, own, spans in zip(prepared.tracks, prepared.records, units, prepared.speech, strict=True)
    ]
    write_rows(paths, sides, settings, tokenizer, result)
