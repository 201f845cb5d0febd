"""Progress display of transcoding: a bar that advances with the audio made, or a plain line every few seconds."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.cli.shared.console import print_note, stderr
from sca.data.runs.progress import ProgressListener
from sca.textutil import counted

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from sca.data.runs.progress import ItemProgress
    from sca.data.runs.summary import Outcome

__all__ = ["TranscodeProgress", "transcode_progress"]

_PLAIN_EVERY_S = 10.0


class TranscodeProgress(ProgressListener):
    """Adds up the seconds of audio of finished files and of those in progress."""

    def __init__(self, bar: "RichProgress | None", *, quiet: bool) -> None:
        self._bar = bar
        self._quiet = quiet
        self._lock = threading.Lock()
        self._task: TaskID | None = None
        self._files = self._todo = 0
        self._audio_s = self._finished_s = 0.0
        self._in_progress: dict[str, float] = {}
        self._start_s = self._printed_s = time.monotonic()

    @override
    def on_start(self, total: int, todo: int, audio_s: float) -> None:
        self._todo, self._audio_s = todo, audio_s
        self._start_s = self._printed_s = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task("transcode", total=max(audio_s, 1e-3), text=f"0/{counted(todo, 'file')}")
        elif not self._quiet and todo:
            print_note(f"transcode: {todo} of {counted(total, 'file')} to do, {audio_s / 3600:.2f} h of audio")

    @override
    def on_progress(self, progress: "ItemProgress") -> None:
        with self._lock:
            self._in_progress[progress.item] = progress.done
            self._show(last=False)

    @override
    def on_item_end(self, outcome: "Outcome") -> None:
        with self._lock:
            self._in_progress.pop(outcome.entry.item, None)
            self._finished_s += outcome.audio_s
            self._files += 1
            self._show(last=self._files == self._todo)

    def _show(self, *, last: bool) -> None:
        made_s = self._finished_s + sum(self._in_progress.values())
        elapsed_s = max(time.monotonic() - self._start_s, 1e-6)
        speed = made_s / elapsed_s
        text = f"{self._files}/{counted(self._todo, 'file')}, {made_s / 3600:.2f} h, {speed:.0f} × real time"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=made_s, text=text)
        elif not self._quiet and (time.monotonic() - self._printed_s > _PLAIN_EVERY_S or last):
            self._printed_s = time.monotonic()
            left_s = max(self._audio_s - made_s, 0.0) / speed if speed else 0.0
            print_note(f"transcode: {text}, about {left_s:.0f} s left")


@contextmanager
def transcode_progress(*, quiet: bool = False) -> Iterator[TranscodeProgress]:
    """Show progress on stderr for the length of the block."""
    if quiet or not sys.stderr.isatty():
        yield TranscodeProgress(None, quiet=quiet)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bar:
        yield TranscodeProgress(bar, quiet=False)
