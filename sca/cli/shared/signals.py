"""SIGTERM and SIGHUP end a command as Ctrl-C does: unfinished files are removed, recordings are completed, children end.

Afterwards the process ends by the signal itself, so that a service manager sees the end that it asked for.
"""

import atexit
import signal
from types import FrameType

__all__ = ["end_on_signals"]

_NAMES = ("SIGTERM", "SIGHUP")


class _EndSignals:
    """The handler of the signals, and the first one that arrived."""

    def __init__(self) -> None:
        self._received: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Do what Ctrl-C does now. Further signals are ignored: they would interrupt the end of the command."""
        if self._received is not None:
            return
        self._received = number
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
            raise KeyboardInterrupt  # a shell ignores SIGINT for programs in the background
        signal.raise_signal(signal.SIGINT)  # the event loop, if one is running, has a handler

    def end(self) -> None:
        """End the process by the signal that arrived, if one did."""
        if self._received is not None:
            signal.signal(self._received, signal.SIG_DFL)
            signal.raise_signal(self._received)


def end_on_signals() -> None:
    """Install the handler for the signals that have their default action; `nohup` ignores SIGHUP, and that stays.

    Only the main thread can do this. A server has handlers of its own while it runs.
    """
    signals = _EndSignals()
    # Functions that are registered later, those of the libraries that a command loads, are called before.
    atexit.register(signals.end)
    for number in (getattr(signal, name, None) for name in _NAMES):  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signals.handle)
