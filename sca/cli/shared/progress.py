"""Progress displays of long commands: a live bar on a terminal, else a plain line every few seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.cli.shared.console import stderr
from sca.data.runs.progress import NullProgress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from sca.data.runs.summary import Outcome

__all__ = ["AudioProgress", "audio_progress"]

_PLAIN_EVERY_S = 10.0


class AudioProgress(NullProgress):
    """Counts items and seconds of audio; shows the rate and the time left."""

    def __init__(self, noun: str, bar: "RichProgress | None", *, quiet: bool) -> None:
        self._noun = noun
        self._bar = bar
        self._quiet = quiet
        self._task: TaskID | None = None
        self._start_s = self._printed_s = time.monotonic()
        self._todo = self._done = 0
        self._audio_s = 0.0

    @override
    def on_start(self, total: int, todo: int, audio_s: float) -> None:
        self._todo = todo
        self._start_s = self._printed_s = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(self._noun, total=max(todo, 1), rate="", left="")

    @override
    def on_item_end(self, outcome: "Outcome") -> None:
        self.advance(outcome.entry.item, outcome.audio_s)

    @override
    def on_warning(self, message: str) -> None:
        if not self._quiet:
            stderr().print(f"sca: {message}", markup=False)

    def start(self, total: int, todo: int) -> None:
        """Start a run of `total` items."""
        self.on_start(total, todo, 0.0)

    def advance(self, item: str, audio_s: float) -> None:
        """Count one more item, which holds this much audio."""
        self._done += 1
        self._audio_s += audio_s
        elapsed = max(time.monotonic() - self._start_s, 1e-6)
        rate = f"{self._audio_s / 3600:.2f} h of audio, {self._audio_s / elapsed:.0f} × real time"
        left_s = elapsed / self._done * (self._todo - self._done)
        if self._bar is not None and self._task is not None:
            left = f"about {timedelta(seconds=round(left_s))} left"
            self._bar.update(self._task, completed=self._done, rate=rate, left=left)
        elif not self._quiet and (time.monotonic() - self._printed_s > _PLAIN_EVERY_S or self._done == self._todo):
            self._printed_s = time.monotonic()
            line = f"{self._noun}: {self._done} of {self._todo} done ({item}), {rate}, about {left_s:.0f} s left\n"
            sys.stderr.write(line)


@contextmanager
def audio_progress(noun: str, *, quiet: bool = False) -> Iterator[AudioProgress]:
    """Show progress on stderr for the length of the block."""
    if quiet or not sys.stderr.isatty():
        yield AudioProgress(noun, None, quiet=quiet)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bar:
        yield AudioProgress(noun, bar, quiet=False)
