"""The parts of a data set that are derived from all its sessions: splits, report, page and card."""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sca.config import Settings
from sca.data.datasets.arrow import iter_batches, write_dict
from sca.data.digests.file_facts import FileFacts
from sca.data.digests.finished import Finished, identity_of
from sca.data.duplex.align.registry import aligner_profile
from sca.data.duplex.build.splits import validation_sessions
from sca.data.duplex.evidence.duplicates import sessions_with_the_same_content
from sca.data.duplex.evidence.measure import add_fingerprints, measure_session
from sca.data.duplex.inspect.report_page import write_report_page
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.report.card import arrow_configs, arrow_opening, write_duplex_card
from sca.data.duplex.report.summary import make_report
from sca.data.duplex.report.survey import survey
from sca.data.duplex.storage.build_settings import read_settings
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.storage.upgrade import upgrade_storage
from sca.data.duplex.storage.writer import merge_tables, write_split_files
from sca.data.runs.files import read_json, write_json
from sca.distribution import __version__
from sca.errors import InputError, writing

__all__ = ["finish", "remove_other_sessions", "remove_session", "validation_split", "write_derived_files"]

_ROWS_FILE = "data-00000-of-00001.arrow"
_SPLITS = ("train", "validation")


def finish(
    root: Path,
    settings: Settings,
    results: Iterable[SessionResult],
    skipped: Sequence[str],
) -> Report:
    """Write everything that is derived from the sessions, unless an earlier run has written it from the same sessions.

    Args:
        root: The data set.
        settings: The settings.
        results: All sessions. The split of each is set.
        skipped: What was left out of the corpus.

    Raises:
        InputError: No session was kept.
    """
    in_order = sorted(results, key=lambda result: result.session_id)
    kept = [result for result in in_order if result.status == "kept"]
    if not kept:
        reasons = "; ".join(f"{result.session_id}: {result.reason}" for result in in_order[:3])
        raise InputError(
            f"no session could be used: {reasons}", hint=f"{root / 'ledger.jsonl'} has every session's reason"
        )
    if (report := _stored_report(root, settings, in_order, skipped)) is not None:
        return report
    report = _write(root, settings, in_order, skipped)
    # The files of sessions may have been completed meanwhile.
    _finished(root, settings, in_order, skipped).note(_final_files(root))
    return report


def _stored_report(
    root: Path, settings: Settings, in_order: Sequence[SessionResult], skipped: Sequence[str]
) -> Report | None:
    """Return the report of an earlier run; None if there is anything to write."""
    if (root / ".sca" / "scratch").exists() or not _finished(root, settings, in_order, skipped).holds():
        return None
    try:
        return Report.model_validate(read_json(root / "report.json"))
    except (InputError, ValueError):
        return None


def _finished(root: Path, settings: Settings, in_order: Sequence[SessionResult], skipped: Sequence[str]) -> Finished:
    """Return the state of the files that are derived from sessions as they are now, and from the settings."""
    sessions = []
    for result in in_order:
        paths = SessionPaths(root, result.session_id)
        files = [identity_of(path) for path in (paths.record, paths.storage, paths.rows)]
        state = [result.session_id, result.key, result.status, result.reason, result.augmented_from]
        sessions.append([*state, *files])
    made_from = {
        "version": __version__,
        "settings": settings.model_dump(mode="json"),
        "made with": read_settings(root),
        "word times": str(aligner_profile(settings)),
        "skipped": list(skipped),
        "sessions": sessions,
    }
    return Finished(FileFacts(root), root / "report.json", made_from)


def _final_files(root: Path) -> list[Path]:
    """Return the places of all files that `_write` writes; those of a split that has no session do not exist."""
    names = ("dataset_dict.json", "report.json", "report.html", "README.md")
    tables = [root / name / part for name in ("storage", *_SPLITS) for part in ("state.json", "dataset_info.json")]
    return [*(root / name for name in names), *tables, *(root / name / _ROWS_FILE for name in _SPLITS)]


def _write(root: Path, settings: Settings, in_order: Sequence[SessionResult], skipped: Sequence[str]) -> Report:
    """Write everything that is derived from the sessions, and return the report."""
    kept = [result for result in in_order if result.status == "kept"]
    validation = validation_split(kept, settings)
    for result in kept:
        # A session all of whose rows are left out is in no split; `sca verify` counts it to the first one.
        empty = bool(result.left_out) and not result.rows
        result.split = "validation" if result.session_id in validation and not empty else "train"
    _complete_earlier_sessions(root, kept)
    report = make_report(settings, read_settings(root), __version__, in_order, skipped)
    if (profile := aligner_profile(settings)) is not None:
        report = report.model_copy(
            update={"alignment": report.alignment.model_copy(update={"word_times": str(profile)})}
        )
    with writing(root):
        shutil.rmtree(root / ".sca" / "scratch", ignore_errors=True)
    splits = _write_splits(root, kept)
    for result in kept:
        upgrade_storage(SessionPaths(root, result.session_id).storage)
    write_split_files(
        root / "storage", "storage", [f"{r.session_id}.arrow" for r in kept], [r.content_key for r in kept]
    )
    write_derived_files(root, report.model_dump(mode="json"), splits)
    write_dict(root, ["storage", *splits])
    return report


def _complete_earlier_sessions(root: Path, kept: Iterable[SessionResult]) -> None:
    """Add what the sessions of an earlier version lack: their evidence, and the sample rates of their recordings."""
    for result in kept:
        complete = result.counters.rates and all(track.sound is not None for track in result.evidence or [])
        if result.augmented_from is not None or (result.evidence is not None and complete):
            continue
        paths = SessionPaths(root, result.session_id)
        tracks = stored_tracks(paths.storage)
        records = [track.record for track in tracks]
        result.counters.rates = Counter(str(record["provenance"]["rate_hz"]) for record in records)
        heard = [track.heard for track in tracks]
        if result.evidence is None:
            result.evidence = measure_session(records, heard)
        else:
            result.evidence = add_fingerprints(result.evidence, records, heard)
        write_json(paths.record, result.to_json())


def write_derived_files(root: Path, report: Mapping[str, Any], splits: Sequence[str]) -> None:
    """Write report, page and card.

    Args:
        root: The data set.
        report: The content of `report.json`.
        splits: The splits of rows, which are written already.
    """
    write_json(root / "report.json", report)
    audio = report["made_with"]["audio"]
    batches = (batch for split in splits for batch in iter_batches(root / split / _ROWS_FILE))
    found = survey(batches, audio["frames_per_chunk"] / audio["frame_hz"], report)
    write_report_page(root, report, found)
    write_duplex_card(root, report, arrow_configs(splits), arrow_opening())


def validation_split(kept: Iterable[SessionResult], settings: Settings) -> set[str]:
    """Return the sessions of the validation split. Retimed sessions are never in it, and do not influence it."""
    origins = [result for result in kept if result.augmented_from is None]
    if settings.duplex.validation <= 0:
        return set()
    connected = {result.session_id: list(result.speakers) for result in origins}
    evidence = [track for result in origins for track in result.evidence or ()]
    for number, pair in enumerate(sessions_with_the_same_content(evidence)):
        for session in pair:
            connected[session].append(f"\0{number}")  # no speaker has such a name
    return validation_sessions(
        connected,
        {result.session_id: result.samples for result in origins},
        settings.duplex.validation,
    )


def remove_session(root: Path, session_id: str) -> None:
    """Remove the files of one session."""
    paths = SessionPaths(root, session_id)
    with writing(root):
        for part in (paths.storage, paths.rows, paths.record):
            part.unlink(missing_ok=True)


def remove_other_sessions(root: Path, present: set[str]) -> None:
    """Remove the files of all sessions except `present`."""
    for folder in (root / ".sca" / "sessions", root / ".sca" / "rows", root / "storage"):
        for path in folder.glob("*") if folder.exists() else ():
            is_part = folder.name == "sessions" or path.suffix == ".arrow"
            if is_part and path.stem not in present:
                path.unlink()
    # Earlier versions stored the texts of some corpora here.
    shutil.rmtree(root / ".sca" / "import", ignore_errors=True)


def _write_splits(root: Path, kept: Sequence[SessionResult]) -> list[str]:
    """Write the splits that have sessions, and return their names."""
    names = []
    for name in _SPLITS:
        sessions = [result for result in kept if result.split == name]
        if not sessions:
            # A run with more sessions may have written it.
            shutil.rmtree(root / name, ignore_errors=True)
            continue
        merge_tables(root / name / _ROWS_FILE, "rows", [SessionPaths(root, r.session_id).rows for r in sessions])
        write_split_files(root / name, name, [_ROWS_FILE], [result.content_key for result in sessions])
        names.append(name)
    return names
