"""Download many videos, a few at a time and with limited rate.

Every requested video is in `ledger.jsonl` as verified, skipped (it is in the archive) or failed with a reason. The main
thread writes the ledger and the archive; worker threads only download.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.acquire.archive import Archive
from sca.data.acquire.downloader import (
    INCOMPLETE,
    AlreadyDownloadedError,
    DownloadedVideo,
    DownloadFailedError,
    DownloadOptions,
    VideoDownloader,
)
from sca.data.acquire.published import VideoLocks
from sca.data.acquire.rate_limit import RateLimiter, Schedule
from sca.data.acquire.targets import DownloadTarget
from sca.data.acquire.youtube import Site, open_ydl
from sca.data.acquire.youtube_errors import Failure, FailureKind
from sca.data.runs.beside import ledger_beside
from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import LedgerEntry, lock_dir
from sca.data.runs.local import ThreadExecutor
from sca.data.runs.progress import NullProgress, ProgressListener
from sca.data.runs.summary import Outcome, RunSummary
from sca.errors import ScaError, writing
from sca.files.atomic import check_no_link

__all__ = ["DownloadDetails", "download"]

_MAX_REFUSALS = 3
"""The run ends after this many videos in a row of which the site did not even serve the page."""
_FLUSH_TIMEOUT_S = 2.0
"""How long downloads in progress get to end when the run ends early."""


@dataclass(slots=True)
class DownloadDetails:
    """What a download run reports besides its items.

    Attributes:
        entries: The ledger entries of the requested videos, in the order in which they ended.
        bytes: The size of the files that this run downloaded.
        ledger: The ledger.
    """

    entries: list[LedgerEntry] = field(default_factory=list)
    bytes: int = 0
    ledger: Path = Path("ledger.jsonl")


def download(
    targets: Sequence[DownloadTarget],
    options: DownloadOptions,
    site: Site,
    *,
    archive: Path | None = None,
    jobs: int = 2,
    sleep_interval_s: float = 5.0,
    retry_failed: bool = True,
    listener: ProgressListener | None = None,
) -> RunSummary[DownloadDetails]:
    """Download videos into `options.folder`.

    Args:
        targets: The videos.
        options: What to download of each.
        site: How to reach the site.
        archive: The list of downloaded videos; `archive.txt` in the folder if not given.
        jobs: Downloads at a time.
        sleep_interval_s: The minimum time between the starts of two videos; at most 250 start per hour.
        retry_failed: Whether to try videos again that failed before.
        listener: Receives the progress, in bytes.

    Returns:
        The summary. The failure of a video is in it, and is not raised.

    Raises:
        UpstreamError: The site cannot be reached, or refuses. Videos that were not tried are in the ledger as failed.
        OutputError: The folder cannot be written any more; as above.
        UsageError: yt-dlp does not accept its options.
    """
    open_ydl(site).close()  # reports bad cookies and options once and now, not for each video
    with lock_dir(options.folder):
        ledger = ledger_beside(options.folder, "download")
        if archive is None:
            archive = options.folder / "archive.txt"
            check_no_link(archive)
        listed = Archive(archive)
        with writing(options.folder):
            _make_incomplete(options.folder / INCOMPLETE)
        run = IncrementalRun(ledger, DownloadDetails(ledger=ledger.path), retry_failed=retry_failed, listener=listener)
        downloads = _Downloads(run, listed)
        try:
            work = _Work(options, site, downloads.archive, sleep_interval_s, listener or NullProgress())
            downloads.run_all(targets, work, jobs)
        finally:
            run.settle()
            with suppress(OSError):  # not empty: unfinished downloads are in it
                (options.folder / INCOMPLETE).rmdir()
    run.summary.details.entries = list(run.entries.values())
    return run.summary


@dataclass(frozen=True, slots=True)
class _Skipped:
    """The archive has the video under this key."""

    key: str


_Result = DownloadedVideo | _Skipped | Failure


def _make_incomplete(folder: Path) -> None:
    """Make the folder of unfinished downloads. Links in it are removed, because yt-dlp would write to where they lead."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()


class _Work:
    """Downloads videos in worker threads, each with its own downloader, because yt-dlp objects belong to one thread."""

    def __init__(
        self, options: DownloadOptions, site: Site, archive: Archive, interval_s: float, listener: ProgressListener
    ) -> None:
        self._options, self._site, self._archive, self._listener = options, site, archive, listener
        self._stop = threading.Event()
        self._rate_limiter = RateLimiter(Schedule(interval_s), sleep=self._stop.wait)
        self._local, self._locks = threading.local(), VideoLocks()
        self._downloaders: list[tuple[threading.Thread, VideoDownloader]] = []

    def __call__(self, target: DownloadTarget) -> _Result:
        downloader = self._downloader()
        self._rate_limiter.wait()
        try:
            return downloader.download(target.item, target.url, self._archive.__contains__)
        except DownloadFailedError as error:
            return error.failure
        except AlreadyDownloadedError as error:
            return _Skipped(error.key)

    def _downloader(self) -> VideoDownloader:
        if not hasattr(self._local, "downloader"):
            self._local.downloader = VideoDownloader(
                self._options,
                self._site,
                stop=self._stop,
                on_progress=self._listener.on_progress,
                locks=self._locks,
            )
            self._downloaders.append((threading.current_thread(), self._local.downloader))
        downloader: VideoDownloader = self._local.downloader
        return downloader

    def stop(self) -> None:
        """Make downloads in progress end soon."""
        self._stop.set()

    def close(self) -> None:
        """Close the downloaders of all threads that have ended."""
        for thread, downloader in self._downloaders:
            if not thread.is_alive():
                downloader.close()


class _Downloads:
    """Records downloads and decides when the run has to end."""

    def __init__(self, run: IncrementalRun[DownloadDetails], archive: Archive) -> None:
        self.archive = archive
        self._run = run
        self._refusals_in_a_row = 0
        self._was_reached = False
        self._last_failure: Failure | None = None

    def run_all(self, targets: Sequence[DownloadTarget], work: _Work, jobs: int) -> None:
        """Download all targets that are not in the archive."""
        items = self._plan(targets)
        executor = ThreadExecutor(jobs, on_stop=work.stop, grace_s=_FLUSH_TIMEOUT_S)
        try:
            for _ in self._run.outcomes(items, work, self._record, executor=executor, fatal=(ScaError,)):
                self._check_refusals()
        except ScaError as error:
            for item in items:
                if item.name not in self._run.entries:
                    entry = LedgerEntry(item.name, item.key, "failed", f"not tried: {error.message}", retryable=True)
                    self._run.record(Outcome(entry))
            raise
        finally:
            work.close()

    def _plan(self, targets: Sequence[DownloadTarget]) -> list[Item[DownloadTarget]]:
        items = []
        for target in targets:
            key = target.key or f"url {target.url}"
            if target.key in self.archive:
                self._run.count(self._skipped(target.item, key))
            elif not self._run.leave_old_failure(target.item, key):
                items.append(Item(target.item, target, key))
        return items

    def _record(self, item: Item[DownloadTarget], result: _Result) -> Outcome:
        self._last_failure = result if isinstance(result, Failure) else None
        match result:
            case _Skipped(key=key):
                return self._skipped(item.name, key)
            case Failure():
                return Outcome(LedgerEntry(item.name, item.key, "failed", result.reason, result.retryable))
        self.archive.add(result.key)
        self._run.summary.details.bytes += result.size_bytes
        seconds = round(result.seconds, 3)
        extra = {"file": result.file.name, "bytes": result.size_bytes, "seconds": seconds, "title": result.title}
        return Outcome(LedgerEntry(item.name, result.key, "verified", notes=result.notes, extra=extra), seconds)

    def _skipped(self, name: str, key: str) -> Outcome:
        before = self._run.before.get(name)
        extra = dict(before.extra) if before is not None else {}
        extra.pop("traceback", None)
        entry = LedgerEntry(name, key, "skipped", f"already in {self.archive.path.name}", extra=extra)
        return Outcome(entry, made=False)

    def _check_refusals(self) -> None:
        """End the run if the site, or the way to it, is at fault and not one video."""
        failure = self._last_failure
        if failure is None or failure.kind not in (FailureKind.unreachable, FailureKind.refused):
            self._refusals_in_a_row, self._was_reached = 0, True
            return
        self._refusals_in_a_row += 1
        never_reached = failure.kind is FailureKind.unreachable and not self._was_reached
        if self._refusals_in_a_row >= _MAX_REFUSALS or never_reached:
            raise failure.as_error("downloading")
