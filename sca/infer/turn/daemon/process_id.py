"""Is this process still the one that was started? A number is not enough: systems hand out process numbers again.

A process is known by its number and the moment it began, as its system tells it (`/proc` on Linux, else `ps`). One that has
ended and was not collected by its parent counts as gone.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["began", "command_line", "end", "is_running"]

_POLL_S = 0.02


def began(pid: int) -> str | None:
    """When process `pid` began, in its system's own words; None when there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        # After the name, which is in brackets and may hold anything: state, …, and as 20th the start in ticks since boot.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    state, _, rest = _ps(pid, "state=,lstart=").partition(" ")
    return None if not state or state.startswith("Z") else rest.strip()


def command_line(pid: int) -> str:
    """The words of its command, joined by spaces; empty when it is gone."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            return ""
    return _ps(pid, "command=")


def is_running(pid: int, since: str) -> bool:
    """Whether the process that had this number and began then still runs."""
    return began(pid) == since


def end(pid: int, since: str, grace_s: float) -> bool:
    """Ask the process to end (SIGTERM); after `grace_s` make it and its group end (SIGKILL). Whether asking was enough.

    Raises PermissionError for someone else's process.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if _gone_within(pid, since, grace_s):
        return True
    with suppress(ProcessLookupError):
        # It was started as the leader of a group of its own; whatever it started goes too.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    _gone_within(pid, since, 5.0)
    return False


def _gone_within(pid: int, since: str, seconds: float) -> bool:
    deadline_s = time.monotonic() + seconds
    while is_running(pid, since):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def _ps(pid: int, columns: str) -> str:
    done = subprocess.run(["ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()
