"""A corpus becomes a duplex data set: scan, build what is missing, put the finished parts together, write the report.

Holds one session's results in memory at a time; what a session made is on disk before it counts. A second run redoes nothing, a
killed one at most the sessions in hand, and the files end up the same bytes.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sca.config import DuplexConfig, Settings
from sca.control_tokens import check_control_ids
from sca.data.corpora.base import CorpusFormat
from sca.data.corpora.registry import open_corpus
from sca.data.corpora.session_source import SessionSource
from sca.data.datasets.arrow import iter_batches, write_dict
from sca.data.duplex.align.track import finder_model, word_finder
from sca.data.duplex.audio.codec_targets import load_codec
from sca.data.duplex.audio.speaker_embedding import load_embedder
from sca.data.duplex.build.augment import RetimeJob, build_retimed, retime_jobs, unfit
from sca.data.duplex.build.session import SessionJob, build_session
from sca.data.duplex.build.splits import validation_sessions
from sca.data.duplex.inspect.html import write_page
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.report.card import arrow_configs, arrow_opening, write_duplex_card
from sca.data.duplex.report.distributions import histograms, plots
from sca.data.duplex.report.summary import make_report
from sca.data.duplex.rows.params import window_plan
from sca.data.duplex.storage.build_settings import NAME as SETTINGS_FILE
from sca.data.duplex.storage.build_settings import differences, made_with, tokenizer_of
from sca.data.duplex.storage.writer import merge_tables, write_split_files
from sca.data.runs.files import ensure_owned_dir, sha256_of, write_json
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.local import cores, run
from sca.data.runs.model_identity import model_identity
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.errors import InputError, OutputError, ScaError, writing
from sca.tokenizer.base import TextTokenizer
from sca.version import __version__

__all__ = ["BuildSummary", "Progress", "build_duplex"]

# Starting worker processes takes longer than a small corpus does.
_WORTH_WORKERS_BYTES = 64 << 20


@dataclass(slots=True)
class BuildSummary:
    """How a build ended. `built` sessions were made by this run, the others were there already."""

    root: Path
    report: Report
    built: int
    kept: int
    dropped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


Progress = Callable[[str, float], None]
"""Called with a session's id and its length in seconds when it is done."""


def build_duplex(
    source: Path,
    root: Path,
    settings: Settings,
    *,
    jobs: int = 0,
    force: bool = False,
    layout: str = CorpusFormat.auto,
    audio_dir: Path | None = None,
    on_start: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> BuildSummary:
    """Build the corpus `source` into the data set `root`.

    jobs: processes, 0 for one a core where that pays.   force: rebuild a folder that was made with other settings.
    layout: of `source`.   audio_dir: where the recordings of an events file are, its own folder by default.
    on_start: called once with (sessions in all, sessions to do). Raises `InputError`, `OutputError`, `ConfigError`.
    """
    corpus = open_corpus(source, layout, audio_dir)
    tokenizer = tokenizer_of(settings)
    check_control_ids(settings.duplex, tokenizer)
    window_plan(settings, tokenizer)
    _refuse_source_as_target(source, root)
    word_finder(settings)  # models that cannot be loaded end the run here, not once a session
    load_embedder(settings)
    load_codec(settings)
    ensure_owned_dir(root, Path(SETTINGS_FILE), "sca build-duplex")  # before anything of ours is in it
    with lock_dir(root):
        _claim(root, settings, tokenizer, force)
        found = corpus.sessions()
        results, todo = _sort_out(found.sources, root, settings, tokenizer)
        if on_start is not None:
            on_start(len(found.sources), len(todo))
        built = _work(todo, root, settings, jobs, results, progress)
        notices = _augment(root, settings, jobs, results)
        _forget_others(root, {source.session_id for source in found.sources} | results.keys())
        skipped = [str(issue) for issue in found.issues if issue.level == "skipped"]
        report = _finish(root, settings, tokenizer, list(results.values()), skipped)
    return BuildSummary(
        root=root,
        report=report,
        built=built,
        kept=report.sessions.kept,
        dropped=[(r.session_id, r.reason or "") for r in results.values() if r.status == "dropped"],
        failed=[(r.session_id, r.reason or "") for r in results.values() if r.status == "failed"],
        skipped=skipped + [note for r in results.values() for note in r.skipped],
        notices=notices
        + [str(issue) for issue in found.issues if issue.level == "note"]
        + [note for r in results.values() for note in r.notices],
    )


def _refuse_source_as_target(source: Path, root: Path) -> None:
    if root.resolve() == source.resolve():
        raise OutputError(f"{root} is the corpus itself", hint="give another folder with --output")


def _claim(root: Path, settings: Settings, tokenizer: TextTokenizer, force: bool) -> None:
    """Make sure `root` is empty or made with these settings; with `force`, empty it of what we made."""
    wanted = made_with(settings, tokenizer)
    path = root / SETTINGS_FILE
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if found == wanted:
            return
        if not force:
            raise OutputError(
                f"{root} was made with other settings ({', '.join(differences(found, wanted)[:4])})",
                hint="give another --output, or --force to build it anew",
            )
        for name in ("storage", "train", "validation", ".sca"):
            shutil.rmtree(root / name, ignore_errors=True)
        for name in ("dataset_dict.json", "report.json", "report.html", "ledger.jsonl", "README.md"):
            (root / name).unlink(missing_ok=True)
    write_json(path, wanted)


def _sort_out(
    sessions: Iterable[SessionSource], root: Path, settings: Settings, tokenizer: TextTokenizer
) -> tuple[dict[str, SessionResult], list[SessionJob]]:
    """Which sessions are done with this very content, and which have to be built."""
    models = _models(settings.duplex)
    base = json.dumps([made_with(settings, tokenizer), *models], sort_keys=True)
    done: dict[str, SessionResult] = {}
    todo: list[SessionJob] = []
    for source in sessions:
        stat = _stat(source) + models
        before = _recorded(SessionPaths(root, source.session_id))
        if before is not None and before.stat == stat:
            done[source.session_id] = before
            continue
        key, digests = _key(source, base)
        if before is not None and before.key == key:
            done[source.session_id] = before
        else:
            todo.append(SessionJob(source, key, stat, digests))
    return done, todo


def _models(duplex: DuplexConfig) -> list[list[Any]]:
    """Which models a run uses, by their content: settings hold their names alone."""
    used = []
    if duplex.speaker_model != NO_SPEAKER_MODEL:
        kind, _, folder = duplex.speaker_model.partition(":")
        used.append(["voices", kind if folder else "", model_identity(folder or duplex.speaker_model)])
    finder = finder_model(duplex)
    if finder is not None:
        used.append(["words", duplex.align, model_identity(finder)])
    if duplex.codes != "none":
        used.append(["codes", duplex.codes, model_identity(duplex.codes_model)])
    return used


def _recorded(paths: SessionPaths) -> SessionResult | None:
    """A finished session's record, if its parts are there too."""
    try:
        result = SessionResult.from_json(json.loads(paths.record.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if result.status == "kept" and not (paths.storage.exists() and paths.rows.exists()):
        return None
    return result


def _stat(source: SessionSource) -> list[list[Any]]:
    """Return name, size and time of every file, and the digest of other content: if they are the same, so is the content."""
    found = [(path, path.stat()) for path in source.files]
    stat: list[list[Any]] = [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in found]
    return stat + ([["content", source.fingerprint]] if source.fingerprint else [])


def _key(source: SessionSource, base: str) -> tuple[str, dict[Path, str]]:
    """Return the key of a session's content under these settings, and the SHA-256 of its files."""
    digests = {path: _sha256(path) for path in source.files}
    content = "".join(f"\n{path.name} {digest}" for path, digest in digests.items())
    if source.fingerprint:
        content += f"\n{source.fingerprint}"
    return blake2b((base + content).encode(), digest_size=16).hexdigest(), digests


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        # Whoever reads the file for its content says what is wrong with it.
        return "unreadable"


def _build_one(job: SessionJob, root: Path, settings: Settings) -> SessionResult:
    return build_session(job, root, settings, tokenizer_of(settings))


def _augment(root: Path, settings: Settings, jobs: int, results: dict[str, SessionResult]) -> list[str]:
    """Retime the sessions for training into `results`; returns which could not be, and why."""
    kept = [results[name] for name in sorted(results) if results[name].status == "kept"]
    if not settings.augment.copies or not kept:
        return []
    apart = _apart(kept, settings)
    reasons = {origin.session_id: unfit(root, origin, settings) for origin in kept if origin.session_id not in apart}
    fit = [origin for origin in kept if origin.session_id in reasons and reasons[origin.session_id] is None]
    todo: list[RetimeJob] = []
    for job in retime_jobs(fit, settings):
        if job.session_id in results:
            raise InputError(
                f"there is a session {job.session_id} already, the name that {job.origin} would get retimed",
                hint="rename it, or build without --augment",
            )
        before = _recorded(SessionPaths(root, job.session_id))
        if before is not None and before.key == job.key:
            results[job.session_id] = before
        else:
            todo.append(job)
    ledger = Ledger(root / "ledger.jsonl")
    for _, outcome in run(todo, partial(_retime_one, root=root, settings=settings), jobs or 1):
        if isinstance(outcome, ScaError):
            raise outcome
        results[outcome.session_id] = outcome
        ledger.append(_entry(outcome))
    return [f"{name}: not augmented: {why}" for name, why in sorted(reasons.items()) if why is not None]


def _retime_one(job: RetimeJob, root: Path, settings: Settings) -> SessionResult:
    return build_retimed(job, root, settings, tokenizer_of(settings))


def _apart(kept: list[SessionResult], settings: Settings) -> set[str]:
    """The sessions of the validation split. What was retimed has no say in it."""
    origins = [result for result in kept if result.augmented_from is None]
    return validation_sessions(
        {r.session_id: r.speakers for r in origins},
        {r.session_id: r.samples for r in origins},
        settings.duplex.validation,
    )


def _work(
    todo: list[SessionJob],
    root: Path,
    settings: Settings,
    jobs: int,
    results: dict[str, SessionResult],
    progress: Progress | None,
) -> int:
    """Build `todo` into `results`; returns how many were built. A session that cannot be read fails alone."""
    ledger = Ledger(root / "ledger.jsonl")
    if not jobs:
        heavy = sum(path.stat().st_size for job in todo for path in job.source.files) > _WORTH_WORKERS_BYTES
        jobs = cores() if heavy else 1
    for job, outcome in run(todo, partial(_build_one, root=root, settings=settings), jobs):
        if isinstance(outcome, OutputError):
            raise outcome
        if isinstance(outcome, ScaError):
            outcome = SessionResult(job.source.session_id, job.key, "failed", reason=outcome.message)
            _forget(root, outcome.session_id)
        results[outcome.session_id] = outcome
        ledger.append(_entry(outcome))
        if progress is not None:
            progress(outcome.session_id, outcome.samples / 16_000)
    return len(todo)


def _entry(result: SessionResult) -> LedgerEntry:
    return LedgerEntry(
        result.session_id, result.key, result.status, result.reason, notes=tuple(result.skipped + result.notices)
    )


def _forget(root: Path, session_id: str) -> None:
    paths = SessionPaths(root, session_id)
    with writing(root):
        for part in (paths.storage, paths.rows, paths.record):
            part.unlink(missing_ok=True)


def _forget_others(root: Path, present: set[str]) -> None:
    """Take out the parts of sessions that left the corpus."""
    for folder in (root / ".sca" / "sessions", root / ".sca" / "rows", root / "storage"):
        for path in folder.glob("*") if folder.exists() else ():
            ours = folder.name == "sessions" or path.suffix == ".arrow"
            if ours and path.stem not in present:
                path.unlink()
    # Earlier versions stored the texts of some corpora here.
    shutil.rmtree(root / ".sca" / "import", ignore_errors=True)


def _finish(
    root: Path, settings: Settings, tokenizer: TextTokenizer, results: list[SessionResult], skipped: list[str]
) -> Report:
    """Put the parts together. Everything here is derived, so it is simply made again."""
    results.sort(key=lambda r: r.session_id)
    kept = [r for r in results if r.status == "kept"]
    Ledger(root / "ledger.jsonl").settle([_entry(r) for r in results])
    if not kept:
        reasons = "; ".join(f"{r.session_id}: {r.reason}" for r in results[:3])
        raise InputError(
            f"no session could be used: {reasons}", hint=f"{root / 'ledger.jsonl'} has every session's reason"
        )
    apart = _apart(kept, settings)
    for result in kept:
        result.split = "validation" if result.session_id in apart else "train"
    report = make_report(settings, made_with(settings, tokenizer), __version__, results, skipped)
    with writing(root):
        shutil.rmtree(root / ".sca" / "scratch", ignore_errors=True)
    splits = {name: [r for r in kept if r.split == name] for name in ("train", "validation")}
    for name, sessions in splits.items():
        if not sessions:
            # Left from a run with more sessions; a first run has none, and a training split is never empty.
            shutil.rmtree(root / name, ignore_errors=True)
            continue
        file = root / name / "data-00000-of-00001.arrow"
        merge_tables(file, "rows", [SessionPaths(root, r.session_id).rows for r in sessions])
        write_split_files(root / name, name, [file.name], [r.key for r in sessions])
    write_split_files(root / "storage", "storage", [f"{r.session_id}.arrow" for r in kept], [r.key for r in kept])
    write_json(root / "report.json", report.model_dump(mode="json"))
    names = [name for name, sessions in splits.items() if sessions]
    files = [root / name / "data-00000-of-00001.arrow" for name in names]
    counts = histograms((batch for file in files for batch in iter_batches(file)), float(settings.grid.chunk_s))
    write_page(root / "report.html", report.model_dump(mode="json"), plots(report.model_dump(mode="json"), counts))
    write_duplex_card(root, report.model_dump(mode="json"), arrow_configs(names), arrow_opening())
    write_dict(root, ["storage", *names])
    return report
