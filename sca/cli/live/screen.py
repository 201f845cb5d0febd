"""Display of a live session: a full-screen view in a terminal, plain lines elsewhere.

Both displays are listeners of the session and print to stderr. They read the state of the devices from
`MicSessionHandle.status`.
"""

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.cli.shared.console import print_note, stderr
from sca.infer.conversation.latency import budget_line
from sca.infer.frames import (
    AnswerTiming,
    AudioOutput,
    ControlFrame,
    ErrorFrame,
    Interrupt,
    Lag,
    ThoughtPacket,
    TurnEnd,
    UserText,
)
from sca.infer.interfaces import BaseListener
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sca.infer.runners.mic import MicSessionHandle, MicStatus

__all__ = ["KEYS", "LiveScreen", "PlainLog", "keys", "meter", "screen"]

KEYS = "q ends · space interrupts · m mutes · ? help"
_HELP = (
    "q or Ctrl-C ends the session and prints a summary",
    "space interrupts the answer; so does talking",
    "m mutes and unmutes the microphone: the engine then hears silence",
    "? hides this help",
)
_REFRESH_S = 0.1
_INTERRUPTED_S = 1.5
_FLOOR_DB = -60.0
_METER_WIDTH = 30
_NOTICES = 3
_TEXT_KEPT = 400
_TURNS = 8


def meter(level: float, width: int = _METER_WIDTH) -> str:
    """Draw a bar for an RMS level in [0, 1], from -60 dB to full scale, followed by the level in dB."""
    db = 20 * math.log10(max(level, 1e-6))
    filled = round(width * min(1.0, max(0.0, 1 - db / _FLOOR_DB)))
    shown = f"{db:4.0f} dB" if db > _FLOOR_DB else "  silent"
    return "█" * filled + "·" * (width - filled) + f" {shown}"


def _notice(frame: ControlFrame) -> str | None:
    """Format a control frame that both displays show the same way."""
    match frame:
        case Lag():
            lag = counted(frame.behind_chunks, "chunk")
            return f"behind by {lag} ({frame.reason}), {frame.dropped_chunks} dropped"
        case ErrorFrame(fatal=False):
            return frame.message
        case AnswerTiming():
            return budget_line(frame.stages_ms)
    return None


@dataclass
class _Turn:
    """A turn of either side, with its start in seconds."""

    start_s: float
    speaker: str
    text: str = ""

    @property
    def at(self) -> str:
        """The start as minutes and seconds."""
        return f"{int(self.start_s) // 60}:{int(self.start_s) % 60:02d}"


class PlainLog(BaseListener):
    """One line per event, for logs and pipes. Without the text of the conversation, because others may read a log."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = print_note if write is None else write
        self._turn: int | None = None

    def notify(self, line: str) -> None:
        """Print a line for the user."""
        self._write(f"sca: {line}")

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        if frame.turn_id != self._turn:
            self._turn = frame.turn_id
            self.notify(f"turn {frame.turn_id}: speaks from {sample / SPOKEN_HZ:.2f} s")

    @override
    def on_control(self, frame: ControlFrame) -> None:
        match frame:
            case TurnEnd():
                self.notify(f"turn {frame.turn_id}: complete")
            case Interrupt():
                self.notify(f"turn {frame.turn_id}: interrupted by the {frame.by}")
            case _:
                notice = _notice(frame)
                if notice is not None:
                    self.notify(notice)


class LiveScreen(BaseListener):
    """The view of a session in a terminal; `render` draws it. Times are passed in, in seconds of any clock."""

    def __init__(self, engine: str, now_s: Callable[[], float], greeting: str = "") -> None:
        self._engine = engine
        self._now_s = now_s
        self._greeting = greeting
        self._notices: deque[str] = deque(maxlen=_NOTICES)
        self._turns: deque[_Turn] = deque(maxlen=_TURNS)
        self._thoughts = self._user_text = ""
        self._shows_help = False
        self._turn: int | None = None
        self._interrupted_s = -math.inf
        self._session: MicSessionHandle | None = None

    def attach(self, session: "MicSessionHandle") -> None:
        """Show the status of this session from now on."""
        self._session = session

    def notify(self, line: str) -> None:
        """Show a line to the user."""
        self._notices.append(line)

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        if frame.turn_id != self._turn:
            self._turn = frame.turn_id
            self._turns.append(_Turn(sample / SPOKEN_HZ, self._engine))
        turn = next(turn for turn in reversed(self._turns) if turn.speaker != "you")
        turn.text = (turn.text + frame.text_log)[-_TEXT_KEPT:]

    @override
    def on_user_text(self, frame: UserText) -> None:
        text = frame.text[-_TEXT_KEPT:]
        self._user_text = "" if frame.is_final else f"{text} …"
        if frame.is_final and text:
            self._turns.append(_Turn(frame.sample / HEARD_HZ, "you", text))

    def toggle_help(self) -> None:
        """Show or hide the keys."""
        self._shows_help = not self._shows_help

    @override
    def on_packet(self, packet: ThoughtPacket) -> None:
        self._thoughts = (self._thoughts + packet.text_token_str)[-_TEXT_KEPT:]

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, Interrupt):
            self._interrupted_s = self._now_s()
            answers = [turn for turn in self._turns if turn.speaker != "you"]
            if answers:
                answers[-1].text += " …"
        notice = _notice(frame)
        if notice is not None:
            self.notify(notice)

    def state(self, status: "MicStatus") -> str:
        """Return listening, muted, speaking, or for a moment interrupted."""
        if self._now_s() - self._interrupted_s < _INTERRUPTED_S:
            return "interrupted"
        ears = "muted" if status.muted else "listening"
        return (f"{ears}, speaking" if status.muted else "speaking") if status.playing else ears

    def render(self) -> "RenderableType":
        """Draw the view."""
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(ratio=1)
        if self._greeting and not self._turns:
            table.add_row("", Text(self._greeting))
        for turn in self._turns:
            table.add_row(
                Text(f"{turn.at} {turn.speaker}", "cyan" if turn.speaker == "you" else "magenta"), Text(turn.text)
            )
        if self._session is not None:
            for name, value in self._rows(self._session.status()):
                table.add_row(name, Text(value))
        for line in _HELP if self._shows_help else ():
            table.add_row("", line)
        for notice in self._notices:
            table.add_row("", Text(notice, style="dim"))
        return Panel(
            table, title=Text(f"sca live · {self._engine}"), subtitle=KEYS, title_align="left", subtitle_align="left"
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
            ("input", meter(status.input_level) + ("  CLIPPED" if status.clipped else "")),
            ("output", meter(status.output_level)),
            ("you", self._user_text),
            ("thinks", self._thoughts),
            ("mouth to ear", latency),
            ("dropped", lost),
            ("devices", f"{status.input_name} → {status.output_name} ({status.backend}, echo {status.echo})"),
        ]
        return [row for row in rows if row[0] not in ("you", "thinks") or row[1]]


@contextmanager
def keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Call `on_key` on the running event loop for each key, without echo; restore the terminal afterwards."""
    import asyncio
    import os

    try:
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C still ends the session
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
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
def screen(view: LiveScreen, session: "MicSessionHandle") -> Iterator[None]:
    """Show the view on stderr and handle its keys. Needs a running event loop."""
    import asyncio

    from rich.live import Live

    view.attach(session)
    loop = asyncio.get_running_loop()
    actions = {"q": session.stop, " ": session.interrupt, "m": session.toggle_mute, "?": view.toggle_help}
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
