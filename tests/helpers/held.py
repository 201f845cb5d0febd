"""A `sca` command that stands still at a moment of its work, so that a test ends it there however busy the machine is."""

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
    """The command, once it holds: `after` files got a name like `at` in it, and the next is written and about to get its own; or
    something was appended to such a file `after` times, and the next is about to be.

    It waits in the main thread of its process for a signal. At the end it is dead.
    """
    command = [sys.executable, "-c", PROGRAM, at, str(after), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n", process.communicate()
            yield process
        finally:
            process.kill()
