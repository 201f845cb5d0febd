"""Progress display of downloads: a bar per file and one for all of them, or a plain line per video."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.cli.shared.console import print_note, stderr
from sca.data.runs.progress import NullProgress, ProgressListener
from sca.textutil import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sca.data.runs.progress import ItemProgress
    from sca.data.runs.summary import Outcome

__all__ = ["download_progress"]

_TITLE_WIDTH = 36


class DownloadLines(NullProgress):
    """Prints one plain line for each video that ends, except skipped ones."""

    def __init__(self) -> None:
        self._todo = self._done = 0
        self._start_s = time.monotonic()

    @override
    def on_start(self, total: int, todo: int, audio_s: float) -> None:
        self._todo, self._start_s = todo, time.monotonic()
        print_note(f"sca: {todo} to download")

    @override
    def on_item_end(self, outcome: "Outcome") -> None:
        entry = outcome.entry
        if entry.status == "skipped":
            return
        self._done += 1
        left_s = (time.monotonic() - self._start_s) / self._done * (self._todo - self._done)
        if entry.status == "verified":
            text = (
                f"{entry.extra['file']}, {entry.extra['bytes'] / 1e6:.1f} MB, {entry.extra['seconds']:.0f} s of sound"
            )
        else:
            text = f"{entry.item}: {entry.status}: {entry.reason}"
        print_note(f"sca: {self._done} of {self._todo}, about {left_s:.0f} s left: {text}")
        for note in entry.notes:
            print_note(f"sca:   {entry.item}: {note}")


class DownloadBars(ProgressListener):
    """Shows live bars."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._lock = threading.Lock()
        self._files: dict[str, TaskID] = {}
        self._overall: TaskID | None = None

    @override
    def on_start(self, total: int, todo: int, audio_s: float) -> None:
        self._overall = self._bars.add_task("all", total=todo, text=f"0 of {counted(todo, 'video')}")

    @override
    def on_progress(self, progress: "ItemProgress") -> None:
        title = progress.title
        if len(title) > _TITLE_WIDTH:
            title = f"{title[: _TITLE_WIDTH - 1]}…"
        is_downloading = progress.stage == "downloading"
        with self._lock:
            if progress.item not in self._files:
                self._files[progress.item] = self._bars.add_task(title, total=None, text="")
            self._bars.update(
                self._files[progress.item],
                description=title,
                text=f"{progress.done / 1e6:.1f} MB" if is_downloading else progress.stage,
                total=progress.total if is_downloading else None,
                completed=progress.done if is_downloading else None,
            )

    @override
    def on_item_end(self, outcome: "Outcome") -> None:
        entry = outcome.entry
        with self._lock:
            if entry.item in self._files:
                self._bars.remove_task(self._files.pop(entry.item))
        if entry.status == "skipped" or self._overall is None:
            return
        self._bars.advance(self._overall)
        overall = next(task for task in self._bars.tasks if task.id == self._overall)
        text = f"{overall.completed:.0f} of {counted(round(overall.total or 0), 'video')}"
        self._bars.update(self._overall, text=text)
        if entry.status == "failed":
            self._bars.console.print(f"sca: {entry.item}: failed: {entry.reason}")
        for note in entry.notes:
            self._bars.console.print(f"sca: {entry.item}: {note}")


@contextmanager
def download_progress(*, quiet: bool = False) -> Iterator[ProgressListener]:
    """Show progress on stderr for the length of the block."""
    if quiet:
        yield NullProgress()
        return
    if not sys.stderr.isatty():
        yield DownloadLines()
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Bytes per second and time left of a file; videos per minute and time left of all."""

        def render(self, task: Task) -> Text:
            overall = task.id == 0
            # Videos end in bursts, so the rate is averaged over the whole time.
            speed = task.completed / max(task.elapsed or 0.0, 1e-6) if overall else task.speed
            if not speed:
                return Text("")
            rate = f"{speed * 60:.1f}/min" if overall else f"{speed / 1e6:.2f} MB/s"
            left_s = None if task.total is None else round((task.total - task.completed) / speed)
            left = "" if left_s is None else f", {left_s // 60}:{left_s % 60:02d} left"
            return Text(rate + left, style="cyan")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[text]}"),
        Rate(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bars:
        yield DownloadBars(bars)
