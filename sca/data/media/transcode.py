"""Folders of downloaded sound or video become folders of clean audio: what is missing is made, all cores busy.

ffmpeg does the work; this decides what there is to do, in which order results are recorded, and how a run ends. A second run makes
only what is missing. Every file ends in the ledger of the output folder as kept or failed(reason).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from sca.data.media.ffmpeg import Runner, Stopped, find_ffmpeg
from sca.data.media.transcode_formats import Format
from sca.data.media.transcode_plan import Source, clashes, find_sources
from sca.data.media.transcoder import Job, Outcome, Transcoder
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.local import cores
from sca.errors import writing

__all__ = ["Format", "NoWatch", "Summary", "Watch", "transcode"]

LEDGER = "ledger.jsonl"


class Watch(Protocol):
    """Hears how a run goes. Called from several threads."""

    def start(self, total: int, todo: int, audio_s: float) -> None:
        """total: files in all.   todo: those not plainly done.   audio_s: seconds the headers of those promise."""

    def time(self, item: str, made_s: float) -> None:
        """So many seconds of a file are made; comes a few times a second for each file under way."""

    def done(self, item: str, audio_s: float) -> None:
        """A file has ended, with so many seconds; 0 when it failed."""


class NoWatch:
    """Nobody watches."""

    def start(self, total: int, todo: int, audio_s: float) -> None:
        """See `Watch`."""

    def time(self, item: str, made_s: float) -> None:
        """See `Watch`."""

    def done(self, item: str, audio_s: float) -> None:
        """See `Watch`."""


@dataclass(slots=True)
class Summary:
    """How a run ended. made: files by this run, lasting made_s.   already: files that were there."""

    out: Path
    ffmpeg: str
    made: int = 0
    already: int = 0
    made_s: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Files in all."""
        return self.made + self.already + len(self.failed)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        entry = outcome.entry
        if entry.status == "failed":
            self.failed.append((entry.item, entry.reason or ""))
            return
        self.notes += [(entry.item, note) for note in entry.notes if outcome.made]
        if outcome.made:
            self.made, self.made_s = self.made + 1, self.made_s + outcome.seconds
        else:
            self.already += 1


def transcode(
    source: Path,
    out: Path,
    asked: Format,
    *,
    extensions: str | None = None,
    jobs: int = 0,
    force: bool = False,
    watch: Watch | None = None,
) -> Summary:
    """Transcode the file `source`, or the files below the folder `source`, into the folder `out`.

    extensions: which files of a folder, see `input_extensions`; None is webm.   jobs: ffmpegs at a time, 0 for one a core.
    Raises `UsageError`, `InputError` when there is nothing to do, `OutputError`, `MissingToolError`; a file's own failure is
    in the summary.
    """
    sources = find_sources(source, out, extensions, asked.extension)
    jobs = jobs or cores()
    runner = Runner(find_ffmpeg(), jobs)
    summary = Summary(out, f"{runner.program.origin} {runner.program.version}")
    _make_folder(out)
    with lock_dir(out):
        _sweep(out)
        ledger = Ledger(out / LEDGER)
        entries = ledger.entries()
        maker = Transcoder(runner, asked, out, dict(entries), force=force)
        # Twice the threads: while some wait for a disk or hash a source, others keep the ffmpegs running.
        with _pool(runner, 2 * jobs) as pool:
            done, todo = _sort_out(pool, sources, maker)
            for outcome in done:
                _record(outcome, summary, entries)
            for outcome in _work(pool, todo, len(sources), maker, watch or NoWatch()):
                _record(outcome, summary, entries)
                ledger.append(outcome.entry)
        ledger.settle(entries.values())
    summary.failed.sort()
    return summary


def _sort_out(pool: ThreadPoolExecutor, sources: list[Source], maker: Transcoder) -> tuple[list[Outcome], list[Job]]:
    """What is done or cannot be done, and what there is to do, longest first: no core should wait for a long one at the end."""
    clash = clashes(sources)
    done = [maker.failed(one, clash[one.item]) for one in sources if one.item in clash]
    looked = list(pool.map(maker.look, (one for one in sources if one.item not in clash)))
    done += [one for one in looked if isinstance(one, Outcome)]
    todo = [one for one in looked if isinstance(one, Job)]
    return done, sorted(todo, key=lambda job: -(job.expected_s or 0.0))


class _pool:  # noqa: N801 - a context manager
    """Threads that wait for ffmpegs. Left by an error or an interrupt, it kills those first."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self._runner = runner
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="transcode")

    def __enter__(self) -> ThreadPoolExecutor:
        return self._threads

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._runner.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)


def _work(pool: ThreadPoolExecutor, todo: list[Job], total: int, maker: Transcoder, watch: Watch) -> Iterator[Outcome]:
    """Outcomes as they come."""
    watch.start(total, len(todo), sum(job.expected_s or 0.0 for job in todo))
    futures = [pool.submit(maker.make, job, partial(watch.time, job.source.item)) for job in todo]
    for future in as_completed(futures):
        try:
            outcome = future.result()
        except Stopped:
            raise KeyboardInterrupt from None
        watch.done(outcome.entry.item, outcome.seconds)
        yield outcome


def _record(outcome: Outcome, summary: Summary, entries: dict[str, LedgerEntry]) -> None:
    summary.add(outcome)
    entries[outcome.entry.item] = outcome.entry


def _make_folder(out: Path) -> None:
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)


def _sweep(out: Path) -> None:
    """Remove what a killed run left half-made; the folder is ours alone while we hold its lock."""
    with writing(out):
        for left in out.rglob(".sca-*.part"):
            left.unlink(missing_ok=True)
