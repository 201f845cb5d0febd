"""Pause a `sca` command at a fixed point, so that a test can end it there, whatever the load of the machine."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["held"]

PROGRAM = """
import sys, time
from fnmatch import fnmatch
place, left = sys.argv.pop(1), int(sys.argv.pop(1))
def hold(event, arguments):
    global left
    renamed = event == "os.rename" and arguments[1]
    appended = event == "open" and "a" in (arguments[1] or "") and arguments[0]
    if fnmatch(str(renamed or appended), place):
        left -= 1
        if left < 0:
            print("held", flush=True)
            time.sleep(600)
sys.addaudithook(hold)
from sca.cli.main import run
run()
"""


@contextmanager
def held(*words: str | Path, at: str, after: int) -> Iterator[subprocess.Popen]:
    """Run a command, and yield its process when it is paused. It is killed at the end of the block.

    Args:
        words: The arguments of `sca`.
        at: Pattern of file names. The command is paused, in its main thread, before a file is renamed to such a name,
            or before such a file is opened to append.
        after: The number of such events before the pause.
    """
    command = [sys.executable, "-c", PROGRAM, at, str(after), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n", process.communicate()
            yield process
        finally:
            process.kill()
