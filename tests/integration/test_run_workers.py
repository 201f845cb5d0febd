"""Worker processes of a run that is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os, sys, time
from pathlib import Path
from sca.data.runs.local import run

def work(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(120)

if __name__ == "__main__":
    list(run([sys.argv[1]] * 4, work, 2))
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "pids").mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path / "pids")])
    try:
        until(lambda: len(pids(tmp_path)) == 2)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not any(map(lives, pids(tmp_path))))


def pids(folder):
    return [int(path.name) for path in (folder / "pids").iterdir()]


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One whose end nobody has waited for is listed, but lives no more.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
