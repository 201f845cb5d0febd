"""Process identity: a process is identified by its pid and its start time, because systems reuse pids.

A process that has ended and was not reaped by its parent counts as not running.
"""

import os
import signal
import time
from contextlib import suppress

import psutil

__all__ = ["command_line", "is_running", "start_time", "terminate"]

_POLL_S = 0.02
_KILL_S = 5.0  # for a killed process to disappear


def start_time(pid: int) -> str | None:
    """Return an identifier of when process `pid` started; None if it is not running."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        if not psutil.LINUX:
            return f"{process.create_time():.6f}"
        # Linux counts from its boot time, which changes when the clock is set. The difference does not: it is in clock
        # ticks.
        boot_s = psutil.boot_time()
        return str(round((process.create_time() - boot_s) * os.sysconf("SC_CLK_TCK")))
    except psutil.Error:
        return None


def command_line(pid: int) -> str:
    """Return the command line of a process; an empty string if it is not running."""
    try:
        return " ".join(psutil.Process(pid).cmdline()).strip()
    except psutil.Error:
        return ""


def is_running(pid: int, since: str) -> bool:
    """Return whether the process with this pid that started at `since` is still running."""
    return start_time(pid) == since


def terminate(pid: int, since: str, grace_s: float) -> bool:
    """Terminate a process with SIGTERM, and after `grace_s` kill it and its process group.

    Args:
        pid: The process.
        since: Its `start_time`.
        grace_s: How long it may take to end.

    Returns:
        Whether SIGTERM was sufficient.

    Raises:
        PermissionError: The process belongs to another user.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if _wait_for_end(pid, since, grace_s):
        return True
    with suppress(ProcessLookupError):
        # It was started as the leader of its own process group, which includes the processes it has started.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    _wait_for_end(pid, since, _KILL_S)
    return False


def _wait_for_end(pid: int, since: str, timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while is_running(pid, since):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True
