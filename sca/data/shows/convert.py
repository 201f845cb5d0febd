"""`sca convert`: makes a data set from a file of timelines and a folder of recordings.

The audio of a show is encoded once, into a file of its own. Rows are derived from it in every run, so other thresholds
cost no encoding. The result of every show is in `ledger.jsonl`: kept, dropped or failed, with the reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sca.config import Settings
from sca.data.datasets.card import RecordingSource, read_source
from sca.data.digests.file_facts import FileFacts
from sca.data.media.find_audio import AudioFolder, info_files
from sca.data.runs.executor import Executor, UnexpectedError, guarded
from sca.data.runs.incremental import IncrementalRun, Item, damage_facts, longest_first, with_traceback
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.owner import CONVERT, claim, hold
from sca.data.runs.progress import ProgressListener
from sca.data.runs.shards import Shard, setting_up
from sca.data.runs.summary import ItemReason, Outcome, RunSummary
from sca.data.shows.assemble import write_dataset
from sca.data.shows.encode import EncodeJob, encode_show, load_models, plan_encoding, read_record
from sca.data.shows.model import ConvertDetails, ShowRecord
from sca.data.shows.rows import ShowRow, make_rows
from sca.data.shows.storage import remove_unfinished
from sca.data.shows.targets import find_targets, rules_of
from sca.data.transcription.coverage import coverage_of
from sca.errors import InputError, ScaError
from sca.timeline import BrokenLine, Show, read_shows
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["convert"]

_ANY_LENGTH = 1 << 60  # while the length of a show is unknown


def convert(
    input_file: Path,
    audio_dir: Path,
    root: Path,
    settings: Settings,
    *,
    info_dirs: Sequence[Path] = (),
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    executor: Executor | None = None,
    shard: Shard | None = None,
    listener: ProgressListener | None = None,
) -> RunSummary[ConvertDetails]:
    """Create the data set in `root`, or bring it up to date.

    Args:
        input_file: The timelines that `sca transcribe` wrote.
        audio_dir: The recordings; each is found by its show's id.
        root: The folder of the data set.
        settings: The settings; `settings.convert` applies.
        info_dirs: Folders with the .info.json files of `sca download`, besides `audio_dir`.
        jobs: Worker processes; 0 is one per core.
        force: Encode every show again.
        retry_failed: Whether to try shows again that failed in an earlier run.
        executor: Where shows are encoded; by default in `jobs` processes.
        shard: The part of the items to do; None for all, and what joins them.
        listener: Receives the progress.

    Raises:
        InputError: No show can be used, or another run writes to `root`.
        OutputError: A file cannot be written.
        UsageError: The name of a model is unknown.
        MissingToolError: A model or the library that runs it is missing.
    """
    load_models(settings)  # fails early if they cannot be loaded
    folder, timelines = AudioFolder(audio_dir), _read_timelines(input_file)
    with hold(root, CONVERT, shard):
        with setting_up(root, shard):
            claim(root, CONVERT)
        if shard is None:  # others may be at work on theirs
            remove_unfinished(root)
        run = IncrementalRun(
            Ledger(root / "ledger.jsonl"),
            ConvertDetails(root),
            retry_failed=retry_failed,
            listener=listener,
            accept_damage_s=settings.audio.accept_damage_s,
            shard=shard,
        )
        conversion = _Conversion(run, settings, folder, force=force)
        todo = conversion.plan(timelines)
        run.execute(
            todo,
            partial(encode_show, root=root, settings=settings),
            conversion.record,
            executor=executor or ProcessExecutor(jobs),
            fail=_failure,
        )
        run.settle(keep_others=False)
        if shard is None:
            conversion.finish(timelines, info_files((audio_dir, *info_dirs)))
        return run.summary


@dataclass(frozen=True, slots=True)
class _Timelines:
    """The content of a file of timelines.

    Attributes:
        shows: The shows, sorted by id; if a show has several lines, the last one.
        broken: Lines that could not be parsed.
        notes: Remarks about shows.
    """

    shows: list[Show]
    broken: list[BrokenLine]
    notes: list[ItemReason]


def _read_timelines(input_file: Path) -> _Timelines:
    """Read a file of timelines.

    Raises:
        InputError: The file cannot be read or contains no show; then it is probably the wrong file.
    """
    shows: dict[str, Show] = {}
    broken: list[BrokenLine] = []
    notes: list[ItemReason] = []
    for number, line in read_shows(input_file):
        if isinstance(line, BrokenLine):
            broken.append(line)
            continue
        if line.video_id in shows:
            notes.append(ItemReason(line.video_id, f"more than one line; line {number} is used"))
        shows[line.video_id] = line
    if not shows:
        first = f" ({broken[0]})" if broken else ""
        raise InputError(
            f"{input_file} contains no timelines{first}",
            hint="give the file that sca transcribe wrote with --input-file",
        )
    return _Timelines([shows[show_id] for show_id in sorted(shows)], broken, notes)


class _Conversion:
    """The shows of one run: which ones to encode, and the rows of those that are encoded."""

    def __init__(
        self, run: IncrementalRun[ConvertDetails], settings: Settings, folder: AudioFolder, *, force: bool
    ) -> None:
        self._run, self._folder, self._force = run, folder, force
        self._settings, self._config = settings, settings.convert
        self._rules = rules_of(settings.convert)
        self._root = run.summary.details.root
        self._facts = FileFacts(self._root)
        self._records: dict[str, ShowRecord] = {}
        self._rows: dict[str, list[ShowRow]] = {}

    def plan(self, timelines: _Timelines) -> list[Item[EncodeJob]]:
        """Count what needs no encoding, and return the shows to encode, longest first."""
        self._run.summary.notes += timelines.notes
        for line in timelines.broken:
            self._run.count(_failed(f"line {line.number}", InputError(line.reason)))
        own = self._run.mine(timelines.shows, lambda show: show.video_id)
        return longest_first(item for show in own if (item := self._plan_show(show)) is not None)

    def _plan_show(self, show: Show) -> Item[EncodeJob] | None:
        try:
            return guarded(self._planned, show)
        except UnexpectedError as error:
            self._run.count(with_traceback(_failed(show.video_id, error), error))
            return None

    def _planned(self, show: Show) -> Item[EncodeJob] | None:
        rows, counts = self._make_rows(show, _ANY_LENGTH)
        if not rows:
            self._run.count(self._dropped(show, counts))
            return None
        try:
            audio = self._folder.of(show)
            before = read_record(self._root, show.video_id)
            job = plan_encoding(show, audio, before, self._settings, self._facts)
        except InputError as error:
            self._run.count(_failed(show.video_id, error))
            return None
        if show.sha256 is not None and show.sha256 != job.sha256:
            note = f"{audio.name} is not the file that was transcribed"
            self._run.summary.notes.append(ItemReason(show.video_id, note))
        if before is not None and before.key == job.key and not self._force:
            self._run.count(self._encoded(show, before, made=False))
            return None
        if self._run.leave_old_failure(show.video_id, job.key):
            return None
        return Item(show.video_id, job, job.key, audio_s=show.duration_s or 0.0)

    def record(self, item: Item[EncodeJob], record: ShowRecord) -> Outcome:
        """Make the rows of a show that this run encoded."""
        self._run.summary.details.encoded += 1
        return self._encoded(item.job.show, record, made=True)

    def _encoded(self, show: Show, record: ShowRecord, *, made: bool) -> Outcome:
        rows, counts = self._make_rows(show, record.samples)
        if not rows:
            return self._dropped(show, counts)
        self._run.summary.details.counts += counts
        self._records[show.video_id], self._rows[show.video_id] = record, rows
        audio_s = samples_to_seconds(record.samples, HEARD_HZ)
        return Outcome(LedgerEntry(show.video_id, record.key, "kept", notes=record.notes), audio_s, made=made)

    def _dropped(self, show: Show, counts: Counter[str]) -> Outcome:
        self._run.summary.details.counts += counts
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()) if count) or "no events"
        return Outcome(LedgerEntry(show.video_id, "", "dropped", f"no rows ({reasons})"), made=False)

    def _make_rows(self, show: Show, samples: int) -> tuple[list[ShowRow], Counter[str]]:
        targets, target_counts = find_targets(show, samples, self._rules)
        rows, row_counts = make_rows(show.video_id, targets, self._rules)
        return rows, target_counts + row_counts

    def finish(self, timelines: _Timelines, infos: Mapping[str, Path]) -> None:
        """Write the data set.

        Args:
            timelines: The shows.
            infos: The .info.json files by the name of the recording without suffix.

        Raises:
            InputError: No show has rows.
            OutputError: A file cannot be written.
        """
        summary = self._run.summary
        used = [show for show in timelines.shows if show.video_id in self._rows]
        if not used:
            reasons = "; ".join(f"{item}: {reason}" for item, reason in (summary.failed + summary.dropped)[:3])
            raise InputError(f"no show could be used: {reasons}", hint=f"all reasons are in {self._run.ledger.path}")
        rows = {show.video_id: self._rows[show.video_id] for show in used}  # in the order of the shows
        self._add_totals(rows)
        self._add_speech(used)
        sources = [self._source(show, infos) for show in used]
        languages = [show.language for show in used if show.language]
        write_dataset(summary, self._records, rows, sources, languages, self._config)

    def _add_totals(self, rows: Mapping[str, Sequence[ShowRow]]) -> None:
        details = self._run.summary.details
        for show_id, rows_of_show in rows.items():
            record = self._records[show_id]
            details.shows += 1
            details.rows += len(rows_of_show)
            details.audio_s += samples_to_seconds(record.samples, HEARD_HZ)
            details.target_s += sum(row.end - row.target_start for row in rows_of_show) / HEARD_HZ
            details.without_embedding += not record.embedding

    def _add_speech(self, used: Sequence[Show]) -> None:
        """Add up how the timelines account for the speech of their shows."""
        details, notes = self._run.summary.details, self._run.summary.notes
        for show in used:
            coverage = coverage_of(show)
            if coverage is None:
                details.without_speech_spans += 1
                continue
            details.speech += coverage
            if coverage.omitted:
                start, end = coverage.omitted[0]
                omitted = f"{coverage.omitted_s:.1f} s of speech have no text and are not marked as unsure"
                notes.append(ItemReason(show.video_id, f"{omitted}, the first at {start:.2f}-{end:.2f} s"))

    def _source(self, show: Show, infos: Mapping[str, Path]) -> RecordingSource:
        return read_source(show.video_id, infos.get(self._folder.of(show).stem))


def _failure(item: Item[EncodeJob], error: ScaError) -> Outcome:
    return _failed(item.name, error)


def _failed(item: str, error: ScaError) -> Outcome:
    """Describe a failure. The reason contains the hint, because the ledger and the JSON output have no other field."""
    reason = f"{error.message} ({error.hint})" if error.hint else error.message
    return Outcome(LedgerEntry(item, "", "failed", reason, extra=damage_facts(error)), made=False)
