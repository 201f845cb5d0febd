"""Child processes that end when their parent does, also when it is killed."""

import os
import select
import shutil
import signal
import subprocess
import sys
from functools import cache

__all__ = ["end_with_parent", "end_with_stdin", "ending_with_parent"]

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


@cache
def ending_with_parent() -> tuple[str, ...]:
    """Return the words before a command that let the system kill it when the thread that started it ends.

    So a killed run leaves no ffmpeg or pip behind. Empty where the system has no such program; `preexec_fn`, the other way,
    may block in a process with threads. Only for children that the same thread waits for: a child that threads of a pool
    start would end with its thread, and needs `end_with_stdin`.
    """
    path = shutil.which("setpriv")
    if path is None:
        return ()
    words = (path, "--pdeathsig", "KILL")
    try:
        subprocess.run([*words, path, "--version"], capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):  # the one of busybox has no such option
        return ()
    return words


def end_with_parent() -> None:
    """Let the system kill this process when the thread that started it ends (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_stdin() -> None:
    """Let the system end this process when the pipe at its standard input closes, or gets more bytes (POSIX).

    A thread that reads standard input would not do: it cannot run while a native library holds the interpreter's lock, as
    llama.cpp does for the time of loading a model.
    """
    if sys.platform == "win32":
        return
    import fcntl

    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends the process
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it closed before
        os._exit(0)
