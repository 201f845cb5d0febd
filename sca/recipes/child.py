"""A stage in a child process: the same interpreter, the words of the command, signals passed on."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sca.children.ending import ending_with_parent

__all__ = ["ChildEnd", "run_child"]

_STDERR = 2


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child process ended.

    Attributes:
        code: Its exit code; the negative number of the signal that ended it.
        wall_s: Seconds that it ran.
        cpu_s: Seconds of processor time of it and its children; None where the system does not count them.
    """

    code: int
    wall_s: float
    cpu_s: float | None

    @property
    def described(self) -> str:
        """The end in words: `exit code 5`, `killed by SIGKILL`."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"


def run_child(words: Sequence[str], *, to_stderr: bool = False, program: Sequence[str] = ()) -> ChildEnd:
    """Run `sca` with some words and wait for its end.

    The child is in a process group of its own, so that Ctrl-C in a terminal reaches it once: as the SIGTERM that this
    function sends, after which it removes unfinished files and ends. A second Ctrl-C kills it. If this process is killed,
    the system kills the child, where it can.

    Args:
        words: The words after `sca`.
        to_stderr: Whether its results go to standard error.
        program: The program with its first words; `sca` by this interpreter if empty.

    Raises:
        KeyboardInterrupt: The run was interrupted; the child has ended.
    """
    sys.stdout.flush()
    before, start = _children_cpu_s(), time.monotonic()
    command = [*ending_with_parent(), *(program or (sys.executable, "-P", "-m", "sca")), *words]
    is_posix = sys.platform != "win32"
    # A Windows console sends Ctrl-C to the child as well.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=_STDERR if to_stderr else None,
        process_group=0 if is_posix else None,
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        if is_posix:
            process.terminate()
        _wait_or_kill(process)
        raise
    except BaseException:
        process.kill()
        process.wait()
        raise
    after = _children_cpu_s()
    cpu_s = None if before is None or after is None else after - before
    return ChildEnd(code, time.monotonic() - start, cpu_s)


def _wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of a child that was interrupted; kill it if the user interrupts again."""
    try:
        process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()


def _children_cpu_s() -> float | None:
    """Return the processor time of all children that have ended, in seconds."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
