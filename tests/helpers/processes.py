"""The state of other processes, also of those that end at the same moment."""

from pathlib import Path

__all__ = ["is_running", "state"]


def state(pid: int) -> str:
    """Return the state of a process: R, S, T (stopped), Z (ended, not waited for) …; Z also for one that does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def is_running(pid: int) -> bool:
    """Return whether a process has not ended."""
    return state(pid) != "Z"
