"""Builds a duplex data set: finds the sessions of a corpus, builds the missing ones, derives splits and report.

The data of at most one session per worker is in memory. A session counts as done when its files are on disk, so a
second run builds nothing and a killed one loses at most the sessions in progress. The files are the same bytes in all
cases.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sca.config import Settings
from sca.control_tokens import check_control_ids
from sca.data.corpora.base import CorpusFormat, Issue
from sca.data.corpora.registry import Corpus, open_corpus
from sca.data.duplex.align.registry import load_aligner
from sca.data.duplex.audio.codec_targets import load_codec
from sca.data.duplex.audio.speaker_at_hand import remember_speaker
from sca.data.duplex.audio.speaker_embedding import load_embedder
from sca.data.duplex.build.augment import RetimeJob, build_retimed, retime_jobs, retiming_obstacle
from sca.data.duplex.build.claim import claim_data_set
from sca.data.duplex.build.finish import finish, remove_other_sessions, remove_session, validation_split
from sca.data.duplex.build.plan import plan_sessions, read_record
from sca.data.duplex.build.session import SessionJob, build_session
from sca.data.duplex.build.text_rate import rate_warning, resolve_text_tokens
from sca.data.duplex.inspect.html import tiles
from sca.data.duplex.load.dataset import load
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.rows.params import window_plan
from sca.data.duplex.storage.build_settings import (
    tokenizer_of,
)
from sca.data.duplex.storage.drops import drops_by_session
from sca.data.runs.executor import Executor
from sca.data.runs.incremental import IncrementalRun, Item, failure, failure_reason
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.owner import BUILD, hold
from sca.data.runs.progress import NullProgress, ProgressListener
from sca.data.runs.shards import Shard, setting_up
from sca.data.runs.summary import Outcome, RunSummary
from sca.display.blocks import block
from sca.errors import InputError, OutputError, ScaError
from sca.textutil import counted
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["BuildDetails", "build_duplex"]

# Starting worker processes takes longer than building less audio than this.
_WORKERS_FROM_BYTES = 64 << 20


@dataclass(slots=True)
class BuildDetails:
    """What `build_duplex` reports besides the counts of the run.

    Attributes:
        root: The data set.
        report: The content of `report.json`.
        built: Sessions that this run worked on, whatever their result; retimed ones are not counted.
        skipped: What was left out, with file, line and reason.
        notices: What was used although it is not as it should be.
    """

    root: Path
    report: Report = field(init=False)
    built: int = 0
    skipped: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the main numbers of the report, and the first row with its sound."""
        numbers = dict(tiles(self.report.model_dump(mode="json")))
        return block(str(self.root), numbers, *[row._repr_html_() for row in load(self.root)[:1]])

    @property
    def kept(self) -> int:
        """The number of sessions in the data set."""
        return self.report.sessions.kept


def build_duplex(
    source: Path,
    root: Path,
    settings: Settings,
    *,
    jobs: int = 0,
    force: bool = False,
    layout: str = CorpusFormat.auto,
    audio_dir: Path | None = None,
    retry_failed: bool = True,
    executor: Executor | None = None,
    shard: Shard | None = None,
    listener: ProgressListener | None = None,
) -> RunSummary[BuildDetails]:
    """Build a data set from a corpus, or what is missing of it.

    Args:
        source: The corpus.
        root: The folder of the data set.
        settings: The settings.
        jobs: Processes; 0 is one per core for corpora that are large enough.
        force: Whether to rebuild a folder that was built with other settings.
        layout: The layout of the corpus, a name of `sca.data.corpora.registry.corpus_formats`.
        audio_dir: The folder of the recordings of an events file; by default the file's own.
        retry_failed: Whether to try sessions again that failed in an earlier run.
        executor: Where the sessions are built; by default in `jobs` processes.
        shard: The part of the items to do; None for all, and what joins them.
        listener: Receives the progress.

    Raises:
        InputError: The corpus cannot be read, or none of its sessions can be used.
        OutputError: The folder cannot be written, or has other files or settings.
        ConfigError: The settings contradict each other or the tokenizer.
        MissingToolError, UpstreamError: A model of the settings cannot be loaded.
    """
    separate = settings.diarization.separation
    corpus = open_corpus(source, layout, audio_dir, settings.paths.resolved_cache_dir, separate, settings.audio.reading)
    tokenizer = tokenizer_of(settings)
    if settings.duplex.text_tokens_per_chunk == "auto":
        settings = resolve_text_tokens(settings, root, corpus.sessions().sources, tokenizer, force=force)
    check_control_ids(settings.duplex, tokenizer)
    window_plan(settings, tokenizer)
    if root.resolve() == source.resolve():
        raise OutputError(f"{root} is the corpus itself", hint="give another folder with --output")
    # A model that cannot be loaded ends the run here, not once per session.
    load_aligner(settings)
    load_embedder(settings)
    load_codec(settings)
    with hold(root, BUILD, shard):
        with setting_up(root, shard):
            claim_data_set(root, settings, tokenizer, force=force)
            remember_speaker(root, settings.duplex.speaker_model)
        run = IncrementalRun(
            Ledger(root / "ledger.jsonl"),
            BuildDetails(root),
            retry_failed=retry_failed,
            listener=listener,
            accept_damage_s=settings.audio.accept_damage_s,
            shard=shard,
        )
        build = _Build(settings, tokenizer, run, jobs, executor, listener or NullProgress())
        return build.run(corpus) if shard is None else build.run_shard(corpus)


class _Build:
    """One run of the builder. `results` has every session of the run that has a result."""

    def __init__(
        self,
        settings: Settings,
        tokenizer: TextTokenizer,
        run: IncrementalRun[BuildDetails],
        jobs: int,
        executor: Executor | None,
        listener: ProgressListener,
    ) -> None:
        self._settings, self._tokenizer, self._listener = settings, tokenizer, listener
        self._run, self._jobs, self._executor = run, jobs, executor
        self._root = run.summary.details.root
        self._drops = drops_by_session(settings.duplex.drops)
        self.results: dict[str, SessionResult] = {}

    def run(self, corpus: Corpus) -> RunSummary[BuildDetails]:
        details = self._run.summary.details
        sessions = corpus.sessions()
        plan = plan_sessions(sessions.sources, self._root, self._settings, self._tokenizer, self._drops)
        for done in plan.done:
            self._count_done(done)
        warning = rate_warning([job.source for job in plan.todo], plan.done, self._settings, self._tokenizer)
        if warning is not None:
            self._listener.on_warning(warning)
        details.built = self._build_sessions(plan.todo)
        not_retimed = self._retime_sessions() if self._settings.augment.copies else []
        present = {source.session_id for source in sessions.sources}
        remove_other_sessions(self._root, present | self.results.keys())
        self._run.settle(keep_others=False)
        skipped = _texts(sessions.issues, "skipped")
        details.report = finish(self._root, self._settings, self.results.values(), skipped)
        in_order = [self.results[name] for name in sorted(self.results)]
        details.skipped = skipped + [note for result in in_order for note in result.skipped]
        details.notices = not_retimed + _texts(sessions.issues, "note")
        details.notices += [note for result in in_order for note in result.notices]
        details.notices += self._unknown_drops(details.report)
        return self._run.summary

    def run_shard(self, corpus: Corpus) -> RunSummary[BuildDetails]:
        """Build the sessions of a shard. What joins sessions, retimed copies too, is left to the whole run."""
        sources = self._run.mine(corpus.sessions().sources, lambda source: source.session_id)
        plan = plan_sessions(sources, self._root, self._settings, self._tokenizer, self._drops)
        for done in plan.done:
            self._count_done(done)
        self._run.summary.details.built = self._build_sessions(plan.todo)
        self._run.settle()
        return self._run.summary

    def _unknown_drops(self, report: Report) -> list[str]:
        """Return a notice about the rows on the list that no session has."""
        left_out = {row.row_id for row in report.left_out_rows}
        unknown = [row for own in self._drops.values() for row in own if row not in left_out]
        if not unknown:
            return []
        return [
            f"{self._settings.duplex.drops}: {counted(len(unknown), 'row')} on the list cannot be left out, because no "
            f"session gives such a row with these settings; the first is {unknown[0]}"
        ]

    def _build_sessions(self, todo: Iterable[SessionJob]) -> int:
        """Build sessions and return their number. A session that cannot be read fails alone."""
        items = [Item(job.source.session_id, job, job.key) for job in todo]
        items = [item for item in items if not self._keep_old_failure(item.name, item.key)]
        sizes = {item.name: sum(path.stat().st_size for path in item.job.source.files) for item in items}
        items.sort(key=lambda item: -sizes[item.name])  # the largest first, so that no worker waits long at the end
        self._run.execute(
            items,
            partial(_build_session, root=self._root, settings=self._settings),
            self._record,
            executor=self._executor
            or ProcessExecutor(self._jobs or (0 if sum(sizes.values()) > _WORKERS_FROM_BYTES else 1)),
            fail=self._fail,
        )
        return len(items)

    def _retime_sessions(self) -> list[str]:
        """Retime the sessions of the training split, and return which cannot be retimed, with reasons."""
        kept = [self.results[name] for name in sorted(self.results) if self.results[name].status == "kept"]
        validation = validation_split(kept, self._settings)
        training = [origin for origin in kept if origin.session_id not in validation]
        obstacles = {origin.session_id: retiming_obstacle(self._root, origin, self._settings) for origin in training}
        suitable = [origin for origin in training if obstacles[origin.session_id] is None]
        items: list[Item[RetimeJob]] = []
        for job in retime_jobs(suitable, self._settings, self._drops):
            if job.session_id in self.results:
                raise InputError(
                    f"the corpus has a session {job.session_id}, which is the name of the retimed {job.origin}",
                    hint="rename it, or build without --augment",
                )
            before = read_record(SessionPaths(self._root, job.session_id))
            if before is not None and (before.key, before.drops) == (job.key, list(job.drops)):
                self._count_done(before)
            elif not self._keep_old_failure(job.session_id, job.key, job.origin):
                items.append(Item(job.session_id, job, job.key))
        self._run.execute(
            items,
            partial(_build_retimed, root=self._root, settings=self._settings),
            self._record,
            executor=self._executor or ProcessExecutor(self._jobs or 1),
            fail=self._fail_retimed,
            fatal=(ScaError,),
            show_progress=False,
        )
        return [f"{name}: not augmented: {reason}" for name, reason in obstacles.items() if reason is not None]

    def _count_done(self, result: SessionResult) -> None:
        self.results[result.session_id] = result
        self._run.count(Outcome(_entry(result), _seconds(result), made=False))

    def _keep_old_failure(self, session_id: str, key: str, augmented_from: str | None = None) -> bool:
        """Count a session that failed in an earlier run, unless it is to be tried again."""
        if not self._run.leave_old_failure(session_id, key):
            return False
        reason = self._run.before[session_id].reason
        self.results[session_id] = SessionResult(
            session_id, key, "failed", reason=reason, augmented_from=augmented_from
        )
        return True

    def _record(self, item: Item[SessionJob] | Item[RetimeJob], result: SessionResult) -> Outcome:
        self.results[item.name] = result
        return Outcome(_entry(result), _seconds(result))

    def _fail(self, item: Item[SessionJob], error: ScaError) -> Outcome:
        remove_session(self._root, item.name)
        self.results[item.name] = SessionResult(item.name, item.key, "failed", reason=failure_reason(error))
        return failure(item, error)

    def _fail_retimed(self, item: Item[RetimeJob], error: ScaError) -> Outcome:
        remove_session(self._root, item.name)
        self.results[item.name] = SessionResult(
            item.name, item.key, "failed", reason=failure_reason(error), augmented_from=item.job.origin
        )
        return failure(item, error)


def _build_session(job: SessionJob, root: Path, settings: Settings) -> SessionResult:
    return build_session(job, root, settings, tokenizer_of(settings))


def _build_retimed(job: RetimeJob, root: Path, settings: Settings) -> SessionResult:
    return build_retimed(job, root, settings, tokenizer_of(settings))


def _entry(result: SessionResult) -> LedgerEntry:
    notes = tuple(result.skipped + result.notices)
    return LedgerEntry(result.session_id, result.key, result.status, result.reason, notes=notes)


def _seconds(result: SessionResult) -> float:
    return samples_to_seconds(result.samples, HEARD_HZ)


def _texts(issues: Iterable[Issue], level: str) -> list[str]:
    return [str(issue) for issue in issues if issue.level == level]
