"""The state of other processes, also of those that end at the same moment."""

import atexit
import multiprocessing.process
import multiprocessing.util
import os
import signal
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path

__all__ = ["Forked", "is_running", "state"]


class Forked:
    """A function that runs in a fork of this process, as a program in its own session and process group.

    What this process has imported does not have to be imported again: for a command with torch, half of its work.

    Attributes:
        pid: The process, its session and its group.
        output: The file with its standard output and error.
    """

    def __init__(self, run: Callable[[], object], output: Path):
        self.output = output
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._become(run)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)

    def _become(self, run: Callable[[], object]) -> None:
        os.setsid()
        # What ends with the parent process must not end with this one.
        atexit._clear()
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]
        weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
        multiprocessing.process._children.clear()  # type: ignore[attr-defined]
        atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]
        file = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(file, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code: object = 0
        try:
            run()
        except SystemExit as error:
            code = error.code
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)

    def wait(self, timeout_s: float) -> int:
        """Wait for the end of the process; return its exit code as `subprocess` does, negative for a signal."""
        until = time.monotonic() + timeout_s
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            assert time.monotonic() < until, f"process {self.pid} still runs"
            time.sleep(0.05)
        return os.waitstatus_to_exitcode(ended[1])


def state(pid: int) -> str:
    """Return the state of a process: R, S, T (stopped), Z (ended, not waited for) …; Z also for one that does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def is_running(pid: int) -> bool:
    """Return whether a process has not ended."""
    return state(pid) != "Z"
