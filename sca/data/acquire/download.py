"""Download many videos, a few at a time and politely, and write down what became of each.

Every video that was asked for ends in `ledger.jsonl` as verified, skipped (it is in the archive) or failed with a reason. The
main thread owns the ledger and the archive; workers only fetch.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.acquire.downloader import (
    INCOMPLETE,
    AlreadyError,
    FailedError,
    Fetched,
    Fetcher,
    FetchOptions,
    StoppedError,
    Tick,
)
from sca.data.acquire.rate_limit import RateLimiter, Schedule
from sca.data.acquire.targets import Wanted
from sca.data.acquire.youtube import Site, open_ydl
from sca.data.acquire.youtube_errors import Failure, Kind
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.errors import InputError, ScaError, check_target, writing

__all__ = ["Archive", "Listener", "Summary", "download"]

_REFUSALS = 3
"""The run ends after this many videos in a row that the site did not even show."""
_LAST_WORDS_S = 2.0


class Listener:
    """Hears what happens; this one does nothing. `ticked` is called by workers."""

    def started(self, total: int) -> None:
        """total: videos that are not in the archive."""

    def ticked(self, tick: Tick) -> None:
        """A video moved on."""

    def ended(self, entry: LedgerEntry) -> None:
        """A video reached its end."""


@dataclass(slots=True)
class Summary:
    """What became of the videos that were asked for, in that order as far as they ended."""

    entries: list[LedgerEntry] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many ended as verified, skipped or failed."""
        return sum(entry.status == status for entry in self.entries)

    def total(self, name: str) -> float:
        """`bytes` or `seconds` brought in this run."""
        return sum(float(entry.extra.get(name, 0)) for entry in self.entries if entry.status == "verified")


class Archive:
    """Keys of videos that were brought, one a line, in the format of yt-dlp's `--download-archive`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_target(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as an archive: {error}") from error
        self._keys = {line.strip() for line in lines}

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        """Write a key, synced."""
        if key in self._keys:
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{key}\n")
                file.flush()
                os.fsync(file.fileno())
        self._keys.add(key)


@dataclass(frozen=True, slots=True)
class _End:
    """What a worker hands back: one of fetched, failure, already; or an error that ends the run."""

    wanted: Wanted
    fetched: Fetched | None = None
    failure: Failure | None = None
    already: str | None = None
    fatal: BaseException | None = None


def download(
    wanted: Sequence[Wanted],
    options: FetchOptions,
    site: Site,
    *,
    archive: Path | None = None,
    jobs: int = 2,
    sleep_interval_s: float = 5.0,
    listener: Listener | None = None,
) -> Summary:
    """Bring all of `wanted` into `options.folder`.

    archive: a file of its own; not given, `archive.txt` in the folder.   sleep_interval_s: least time between two videos' starts;
    there are never more than 250 an hour. Raises `UpstreamError` when the site cannot be reached or turns us away, `OutputError`
    when nothing more can be written; what was not tried is then in the ledger as failed, and may be tried again.
    """
    open_ydl(site).close()  # complains about cookies and options once and now, not for each video
    with lock_dir(options.folder):
        with writing(options.folder):
            (options.folder / INCOMPLETE).mkdir(exist_ok=True)
        run = _Run(options, site, archive or options.folder / "archive.txt", listener or Listener())
        try:
            run.all_of(wanted, jobs, sleep_interval_s)
        finally:
            run.ledger.settle(({**run.before, **{e.item: e for e in run.summary.entries}}).values())
            with suppress(OSError):  # not empty: something can be gone on with
                (options.folder / INCOMPLETE).rmdir()
        return run.summary


class _Run:
    def __init__(self, options: FetchOptions, site: Site, archive: Path, listener: Listener) -> None:
        self.options, self.site, self.listener = options, site, listener
        self.ledger = Ledger(options.folder / "ledger.jsonl")
        self.before = self.ledger.entries()
        self.archive = Archive(archive)
        self.summary = Summary()
        self._stop = threading.Event()
        self._in_a_row = 0
        self._reached = False

    def all_of(self, wanted: Sequence[Wanted], jobs: int, gap_s: float) -> None:
        todo = [one for one in wanted if one.key not in self.archive]
        self.listener.started(len(todo))
        for one in wanted:
            if one.key in self.archive:
                self._end(self._skipped(one.item, str(one.key)))
        left = {one.item: one for one in todo}
        try:
            for end in self._ends(todo, min(jobs, len(todo)), gap_s):
                if end.fatal is not None:
                    raise end.fatal
                del left[end.wanted.item]
                self._end(self._entry(end))
                self._check_patience(end)
        except ScaError as error:
            for one in left.values():
                reason = f"not tried: {error.message}"
                self._note(LedgerEntry(one.item, one.key or f"url {one.url}", "failed", reason, retryable=True))
            raise

    def _ends(self, todo: Sequence[Wanted], jobs: int, gap_s: float) -> Iterator[_End]:
        """Run the workers; they are told to stop when the caller goes away, also by an interrupt."""
        waiting: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        ends: queue.SimpleQueue[_End] = queue.SimpleQueue()
        for one in todo:
            waiting.put(one)
        pacer = RateLimiter(Schedule(gap_s), sleep=self._stop.wait)
        # Daemons: a worker that waits for an answer must not hold up the end of an interrupted run.
        workers = [
            threading.Thread(target=self._work, args=(waiting, ends.put, pacer), daemon=True) for _ in range(jobs)
        ]
        for worker in workers:
            worker.start()
        try:
            for _ in todo:
                yield ends.get()
        finally:
            self._stop.set()
            for worker in workers:
                worker.join(_LAST_WORDS_S)

    def _work(self, waiting: "queue.SimpleQueue[Wanted]", hand: Callable[[_End], None], pacer: RateLimiter) -> None:
        one = Wanted("", "")
        try:
            with Fetcher(self.options, self.site, stopped=self._stop.is_set, tick=self.listener.ticked) as fetcher:
                while not self._stop.is_set():
                    one = waiting.get_nowait()
                    pacer.wait()
                    hand(self._fetch(fetcher, one))
        except (queue.Empty, StoppedError):
            pass
        except BaseException as error:  # noqa: BLE001 - the thread's boundary: the main thread raises it
            hand(_End(one, fatal=error))

    def _fetch(self, fetcher: Fetcher, one: Wanted) -> _End:
        try:
            return _End(one, fetched=fetcher.fetch(one.item, one.url, self.archive.__contains__))
        except FailedError as error:
            return _End(one, failure=error.failure)
        except AlreadyError as error:
            return _End(one, already=str(error))

    def _entry(self, end: _End) -> LedgerEntry:
        one = end.wanted
        if end.already is not None:
            return self._skipped(one.item, end.already)
        if end.failure is not None:
            key = one.key or f"url {one.url}"
            return LedgerEntry(one.item, key, "failed", end.failure.reason, retryable=end.failure.retryable)
        got = end.fetched
        assert got is not None
        self.archive.add(got.key)
        extra = {"file": got.file.name, "bytes": got.size_bytes, "seconds": round(got.seconds, 3), "title": got.title}
        return LedgerEntry(one.item, got.key, "verified", notes=got.notes, extra=extra)

    def _skipped(self, item: str, key: str) -> LedgerEntry:
        known = self.before.get(item)
        return LedgerEntry(
            item, key, "skipped", f"already in {self.archive.path.name}", extra=known.extra if known is not None else {}
        )

    def _note(self, entry: LedgerEntry) -> None:
        self.ledger.append(entry)
        self.summary.entries.append(entry)

    def _end(self, entry: LedgerEntry) -> None:
        self._note(entry)
        self.listener.ended(entry)

    def _check_patience(self, end: _End) -> None:
        """End the run when it is the site or the way to it that fails, and not one video."""
        failure = end.failure
        if failure is None or failure.kind not in (Kind.unreachable, Kind.refused):
            self._in_a_row, self._reached = 0, True
            return
        self._in_a_row += 1
        if self._in_a_row >= _REFUSALS or (failure.kind is Kind.unreachable and not self._reached):
            raise failure.as_error("downloading")
