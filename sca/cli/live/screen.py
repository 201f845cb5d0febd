"""What a live session looks like: meters, text, state and latency when a person watches, plain lines when nobody does.

Both kinds are listeners of a session and print to stderr. Knows nothing of devices: it asks `MicSessionHandle.status` how things are.
"""

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sca.cli.shared.console import stderr
from sca.infer.frames import AudioOutput, ControlFrame, ErrorFrame, Interrupt, Lag, ThoughtPacket, TurnEnd
from sca.infer.interfaces import BaseListener
from sca.textutil import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sca.infer.runners.mic import MicSessionHandle, MicStatus

__all__ = ["KEYS", "LiveScreen", "PlainLog", "keys", "meter", "screen"]

KEYS = "q ends · space interrupts"
_REFRESH_S = 0.1
_INTERRUPTED_S = 1.5
_FLOOR_DB = -60.0
_METER_WIDTH = 30
_NOTICES = 3
_TEXT_KEPT = 400


def meter(level: float, width: int = _METER_WIDTH) -> str:
    """A bar for an RMS level in [0, 1], from -60 dB to full scale, and the level in dB."""
    db = 20 * math.log10(max(level, 1e-6))
    filled = round(width * min(1.0, max(0.0, 1 - db / _FLOOR_DB)))
    shown = f"{db:4.0f} dB" if db > _FLOOR_DB else "  silent"
    return "█" * filled + "·" * (width - filled) + f" {shown}"


class PlainLog(BaseListener):
    """One line for what happens, for logs and pipes. No text of the conversation: a log is read by others."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = sys.stderr.write if write is None else write
        self._turn: int | None = None

    def notify(self, line: str) -> None:
        """Say something to the user."""
        self._write(f"sca: {line}\n")

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""
        if frame.turn_id != self._turn:
            self._turn = frame.turn_id
            self.notify(f"turn {frame.turn_id}: speaks from {sample / 24_000:.2f} s")

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        match frame:
            case TurnEnd():
                self.notify(f"turn {frame.turn_id}: said")
            case Interrupt():
                self.notify(f"turn {frame.turn_id}: interrupted by the {frame.by}")
            case Lag():
                self.notify(
                    f"behind by {counted(frame.behind_chunks, 'chunk')} ({frame.reason}), {frame.dropped_chunks} dropped"
                )
            case ErrorFrame(fatal=False):
                self.notify(frame.message)


class LiveScreen(BaseListener):
    """What is shown of a session; `render` draws it. Times are passed in, in seconds of any clock."""

    def __init__(self, engine: str, now_s: Callable[[], float]) -> None:
        self._engine = engine
        self._now_s = now_s
        self._notices: deque[str] = deque(maxlen=_NOTICES)
        self._hears = self._says = ""
        self._turn: int | None = None
        self._interrupted_s = -math.inf
        self._hand: MicSessionHandle | None = None

    def attach(self, hand: "MicSessionHandle") -> None:
        """Show this session from now on."""
        self._hand = hand

    def notify(self, line: str) -> None:
        """Say something to the user."""
        self._notices.append(line)

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""
        if frame.turn_id != self._turn:
            self._turn, self._says = frame.turn_id, ""
        self._says = (self._says + frame.text_log)[-_TEXT_KEPT:]

    def on_packet(self, packet: ThoughtPacket) -> None:
        """See `SessionListener`."""
        self._hears = (self._hears + packet.text_token_str)[-_TEXT_KEPT:]

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        match frame:
            case Interrupt():
                self._interrupted_s = self._now_s()
                self._says += " …"
            case Lag():
                self.notify(
                    f"behind by {counted(frame.behind_chunks, 'chunk')} ({frame.reason}), {frame.dropped_chunks} dropped"
                )
            case ErrorFrame(fatal=False):
                self.notify(frame.message)

    def state(self, status: "MicStatus") -> str:
        """listening, speaking, or interrupted for a moment."""
        if self._now_s() - self._interrupted_s < _INTERRUPTED_S:
            return "interrupted"
        return "speaking" if status.playing else "listening"

    def render(self) -> "RenderableType":
        """Draw it."""
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(ratio=1)
        if self._hand is not None:
            for name, value in self._rows(self._hand.status()):
                table.add_row(name, Text(value))
        for notice in self._notices:
            table.add_row("", Text(notice, style="dim"))
        return Panel(
            table, title=f"sca live · {self._engine}", subtitle=KEYS, title_align="left", subtitle_align="left"
        )

    def _rows(self, status: "MicStatus") -> list[tuple[str, str]]:
        p50, p95 = status.latency_p50_ms, status.latency_p95_ms
        latency = "no answer yet" if p50 is None or p95 is None else f"p50 {p50:.0f} ms · p95 {p95:.0f} ms"
        lost = (
            f"{counted(status.dropped_chunks, 'chunk')} · {counted(status.lost_samples, 'sample')} by the "
            f"driver · {counted(status.underruns, 'gap')}"
        )
        rows = [
            (
                "state",
                f"{self.state(status)} · {status.heard_s:.0f} s · {counted(status.interruptions, 'interruption')}",
            ),
            ("hear", meter(status.input_level) + ("  CLIPPED" if status.clipped else "")),
            ("say", meter(status.output_level)),
            ("thinks", self._hears),
            ("says", self._says),
            ("mouth to ear", latency),
            ("dropped", lost),
            ("devices", f"{status.input_name} → {status.output_name} ({status.backend}, echo {status.echo})"),
        ]
        return [row for row in rows if row[0] != "thinks" or row[1]]


@contextmanager
def keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Call `on_key` on the running event loop for each key, unechoed; the terminal is as it was on every way out."""
    import asyncio
    import os

    try:
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C still ends
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before: Any = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in os.read(fd, 64).decode(errors="ignore"):
            on_key(key)

    try:
        tty.setcbreak(fd)
        loop.add_reader(fd, read)
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def screen(view: LiveScreen, hand: "MicSessionHandle") -> Iterator[None]:
    """Show `view` on stderr and obey its keys; needs a running event loop."""
    import asyncio

    from rich.live import Live

    view.attach(hand)
    loop = asyncio.get_running_loop()
    actions = {"q": hand.stop, " ": hand.interrupt}
    with (
        keys(lambda key: actions.get(key, lambda: None)()),
        Live(console=stderr(), auto_refresh=False, get_renderable=view.render) as live,
    ):
        timers = [loop.call_later(0, lambda: None)]

        def refresh() -> None:
            live.refresh()
            timers[0] = loop.call_later(_REFRESH_S, refresh)

        refresh()
        try:
            yield
        finally:
            timers[0].cancel()
            live.refresh()
