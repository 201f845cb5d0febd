"""What a download shows: a line for each active file and one for all of them, or plain lines when nobody watches."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sca.cli.shared.console import stderr
from sca.data.acquire.download import Listener
from sca.textutil import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sca.data.acquire.downloader import Tick
    from sca.data.runs.ledger import LedgerEntry

__all__ = ["download_progress"]

_TITLE_WIDTH = 36


class _Lines(Listener):
    """One plain line for each video that ends; skipped ones are counted in one line."""

    def __init__(self) -> None:
        self._total = self._done = self._skipped = 0
        self._began = time.monotonic()

    def started(self, total: int) -> None:
        self._total, self._began = total, time.monotonic()
        sys.stderr.write(f"sca: {total} to download\n")

    def ended(self, entry: "LedgerEntry") -> None:
        if entry.status == "skipped":
            return
        self._done += 1
        left_s = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        if entry.status == "verified":
            said = (
                f"{entry.extra['file']}, {entry.extra['bytes'] / 1e6:.1f} MB, {entry.extra['seconds']:.0f} s of sound"
            )
        else:
            said = f"{entry.item}: {entry.status}: {entry.reason}"
        sys.stderr.write(f"sca: {self._done} of {self._total}, about {left_s:.0f} s left: {said}\n")
        for note in entry.notes:
            sys.stderr.write(f"sca:   {entry.item}: {note}\n")


class _Bars(Listener):
    """The same as live bars."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._lock = threading.Lock()
        self._files: dict[str, TaskID] = {}
        self._overall: TaskID | None = None

    def started(self, total: int) -> None:
        self._overall = self._bars.add_task("all", total=total, what=f"0 of {counted(total, 'video')}")

    def ticked(self, tick: "Tick") -> None:
        title = tick.title if len(tick.title) <= _TITLE_WIDTH else f"{tick.title[: _TITLE_WIDTH - 1]}…"
        with self._lock:
            if tick.item not in self._files:
                self._files[tick.item] = self._bars.add_task(title, total=None, what="")
            done = f"{tick.done_bytes / 1e6:.1f} MB" if tick.stage == "downloading" else tick.stage
            total = tick.total_bytes if tick.stage == "downloading" else None
            amount = tick.done_bytes if tick.stage == "downloading" else None
            self._bars.update(self._files[tick.item], description=title, what=done, total=total, completed=amount)

    def ended(self, entry: "LedgerEntry") -> None:
        with self._lock:
            if entry.item in self._files:
                self._bars.remove_task(self._files.pop(entry.item))
        if entry.status == "skipped" or self._overall is None:
            return
        self._bars.advance(self._overall)
        overall = next(task for task in self._bars.tasks if task.id == self._overall)
        said = f"{overall.completed:.0f} of {counted(round(overall.total or 0), 'video')}"
        self._bars.update(self._overall, what=said)
        if entry.status == "failed":
            self._bars.console.print(f"sca: {entry.item}: failed: {entry.reason}", markup=False)
        for note in entry.notes:
            self._bars.console.print(f"sca: {entry.item}: {note}", markup=False)


@contextmanager
def download_progress(*, quiet: bool = False) -> Iterator[Listener]:
    """A display on stderr for the length of the block."""
    if quiet:
        yield Listener()
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        """Bytes a second and time left of a file; videos a minute and time left of all."""

        def render(self, task: Task) -> Text:
            overall = task.id == 0
            # A few videos end at once and then none for a while: over the whole time, that is even.
            speed = task.completed / max(task.elapsed or 0.0, 1e-6) if overall else task.speed
            if not speed:
                return Text("")
            rate = f"{speed * 60:.1f}/min" if overall else f"{speed / 1e6:.2f} MB/s"
            left_s = None if task.total is None else round((task.total - task.completed) / speed)
            left = "" if left_s is None else f", {left_s // 60}:{left_s % 60:02d} left"
            return Text(rate + left, style="cyan")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[what]}", markup=False),
        Pace(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bars:
        yield _Bars(bars)
