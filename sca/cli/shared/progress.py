"""Progress displays of long commands: a live bar on a terminal, else a plain line every few seconds."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.cli.shared.console import print_note, stderr
from sca.data.runs.progress import ItemProgress, NullProgress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from sca.data.runs.summary import Outcome

__all__ = ["AudioProgress", "audio_progress"]

_PLAIN_EVERY_S = 10.0


class AudioProgress(NullProgress):
    """Counts items and seconds of audio; shows the rate and the time left.

    Where a run knows the length of its audio, the bar and the time left count audio, also that of items in progress.
    """

    def __init__(self, noun: str, bar: "RichProgress | None", *, quiet: bool) -> None:
        self._noun = noun
        self._bar = bar
        self._quiet = quiet
        self._task: TaskID | None = None
        self._start_s = self._printed_s = time.monotonic()
        self._todo = self._done = 0
        self._audio_s = self._total_s = 0.0
        self._parts: dict[str, float] = {}
        self._lock = threading.Lock()

    @override
    def on_start(self, total: int, todo: int, audio_s: float) -> None:
        if self._done == 0:
            self._start_s = self._printed_s = time.monotonic()
        # A run can start again with more items: `sca synth --hours` does until there is enough.
        self._todo, self._total_s = self._done + todo, self._audio_s + audio_s if audio_s else 0.0
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self._noun, total=audio_s or max(todo, 1), count="", rate="", left="")
            self._show("")

    @override
    def on_progress(self, progress: "ItemProgress") -> None:
        with self._lock:
            self._parts[progress.item] = progress.done
            self._show(progress.item)

    @override
    def on_item_end(self, outcome: "Outcome") -> None:
        self.advance(outcome.entry.item, outcome.audio_s)

    @override
    def on_warning(self, message: str) -> None:
        if not self._quiet:
            print_note(f"sca: {message}")

    def start(self, total: int, todo: int) -> None:
        """Start a run of `total` items."""
        self.on_start(total, todo, 0.0)

    def advance(self, item: str, audio_s: float) -> None:
        """Count one more item, which holds this much audio."""
        with self._lock:
            self._parts.pop(item, None)
            self._done += 1
            self._audio_s += audio_s
            self._show(item)

    def _show(self, item: str) -> None:
        audio_s = self._audio_s + sum(self._parts.values())
        # The length of an item is an estimate until the item is done; failed items have none.
        total_s = audio_s if self._done == self._todo else max(self._total_s, audio_s)
        elapsed = max(time.monotonic() - self._start_s, 1e-6)
        length = f"{audio_s / 3600:.2f} of {total_s / 3600:.2f} h" if self._total_s else f"{audio_s / 3600:.2f} h"
        rate = f"{length} of audio, {audio_s / elapsed:.0f} × real time"
        done, whole = (audio_s, total_s) if self._total_s else (self._done, self._todo)
        left_s = elapsed / done * (whole - done) if done else None
        if self._bar is not None and self._task is not None:
            left = "" if left_s is None else f"about {timedelta(seconds=round(left_s))} left"
            count = f"{self._done}/{self._todo}"
            self._bar.update(self._task, completed=done, total=max(whole, 1e-6), count=count, rate=rate, left=left)
        elif not self._quiet and (time.monotonic() - self._printed_s > _PLAIN_EVERY_S or self._done == self._todo):
            self._printed_s = time.monotonic()
            left = "" if left_s is None else f", about {left_s:.0f} s left"
            print_note(f"{self._noun}: {self._done} of {self._todo} done ({item}), {rate}{left}")


@contextmanager
def _without_download_bars() -> Iterator[None]:
    """Hide the bars of downloads from the hub, such as the first one of a model, for the length of the block."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def audio_progress(noun: str, *, quiet: bool = False) -> Iterator[AudioProgress]:
    """Show progress on stderr for the length of the block."""
    if quiet:
        with _without_download_bars():
            yield AudioProgress(noun, None, quiet=True)
        return
    if not sys.stderr.isatty():
        yield AudioProgress(noun, None, quiet=False)
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bar:
        yield AudioProgress(noun, bar, quiet=False)
