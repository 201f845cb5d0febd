"""The output of `sca watch`: commentary with the time of its picture, or events as JSON lines; notices on stderr."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from sca.cli.shared.console import emit_json, print_line, print_note, print_text
from sca.watch.documents import EventDocuments
from sca.watch.events import CycleEnd, Event, InstructionSet, Notice, SourceState, Text

if TYPE_CHECKING:
    from sca.watch.running.statistics import SyncReport

__all__ = ["Output", "clock_text"]

_STATES = {
    "lost": "the source is lost; it is tried again",
    "open": "the source is connected",
    "ended": "the video has ended",
}


def clock_text(time_us: int) -> str:
    """Return a time of the video, such as `01:02.4` or `1:00:02.4`."""
    tenths = time_us // 100_000
    hours, minutes, rest = tenths // 36_000, tenths // 600 % 60, tenths % 600
    head = f"{hours}:" if hours else ""
    return f"{head}{minutes:02d}:{rest // 10:02d}.{rest % 10}"


class Output:
    """Prints the events of a session.

    Args:
        as_json: Whether events are JSON lines.
        quiet: Whether notices are left out.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._line: int | None = None  # the cycle with its text on the unfinished line
        self._documents = EventDocuments()
        self._lost = False
        self._last_reason = ""

    def show(self, event: Event) -> None:
        """Print an event."""
        if self._as_json:
            document = self._documents.of(event)
            if document is not None:
                emit_json(document, indent=None)
                sys.stdout.flush()
            return
        match event:
            case Text():
                self._text(event)
            case CycleEnd():
                self._end_line()
                self._reason(event)
            case Notice():
                self._note(event.text)
            case SourceState():
                self._state(event)
            case InstructionSet(instruction):
                self._note(f"instruction: {instruction}" if instruction else "the instruction was cleared")

    def finish(self, report: "SyncReport | None") -> None:
        """End the output, with a report or without."""
        self._end_line()
        if report is None:
            return
        if self._as_json:
            emit_json(asdict(report), "report", indent=None)
            return
        for line in _report_lines(report):
            print_line(line)

    def _text(self, text: Text) -> None:
        if text.cycle != self._line:
            self._end_line()
            self._line = text.cycle
            print_text(f"[{clock_text(text.about_us)}] ")
        print_text(text.text.replace("\n", " "))

    def _end_line(self) -> None:
        if self._line is not None:
            self._line = None
            print_line(flush=True)

    def _reason(self, end: CycleEnd) -> None:
        """Print why a cycle failed; the same reason once in a row."""
        if end.outcome == "failed" and end.reason and end.reason != self._last_reason:
            self._note(end.reason)
        if end.outcome != "skipped":
            self._last_reason = end.reason or "" if end.outcome == "failed" else ""

    def _state(self, state: SourceState) -> None:
        is_news = state.state == "lost" or (state.state == "open" and self._lost)
        self._lost = state.state == "lost"
        if is_news:
            self._note(_STATES[state.state] + (f": {state.detail}" if state.detail else ""))

    def _note(self, text: str) -> None:
        if not self._quiet:
            self._end_line()
            print_note(f"sca watch: {text}")


def _report_lines(report: "SyncReport") -> list[str]:
    cycles = ", ".join(f"{count} {outcome}" for outcome, count in report.cycles.items()) or "none"
    share = "" if report.skipped_share is None else f" ({report.skipped_share:.0%} skipped)"
    lines = [f"cycles           {cycles}{share}"]
    pairs = (
        ("picture → speech", report.end_to_end_s_p50, report.end_to_end_s_p95),
        ("speech − picture", report.offset_s_p50, report.offset_s_p95),
    )
    lines += [f"{name} p50 {p50:.2f} s, p95 {p95:.2f} s" for name, p50, p95 in pairs if None not in (p50, p95)]
    if report.drift_s_per_hour is not None:
        lines.append(f"drift            {report.drift_s_per_hour:+.2f} s per hour")
    lines.append(f"utterances       {report.utterances}, {report.overlaps} overlapping")
    return lines
