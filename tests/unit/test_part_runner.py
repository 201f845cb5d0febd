"""Parts of a measurement: one that fails, ends or is stopped loses nothing that was measured, and the others run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.bench.part_runner import Part, run_parts

# From Python 3.12 on, a fork beside threads of pytest gives a warning.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def good(note, dry):
    print("not part of the report")
    note("dry", dry)


def failing(note, _dry):
    note("measured", 1)
    raise ValueError("the kernel is missing\nmore lines")


def ending(note, _dry):
    note("measured", 2)
    os._exit(3)


def endless(note, _dry):
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    note("child", child.pid)
    time.sleep(600)


def test_each_part_has_its_result(capfd):
    parts = [Part("bad", failing, 30), Part("end", ending, 30), Part("long", endless, 1), Part("good", good, 30)]
    report = run_parts(parts, True, 60)
    found = report["parts"]
    assert report["failed"] == ["bad", "end", "long"]
    assert (found["bad"]["measured"], found["bad"]["failed"]) == (1, "ValueError: the kernel is missing")
    assert (found["end"]["measured"], found["end"]["failed"]) == (2, "the process ended with 3")
    assert found["long"]["failed"] == "stopped after 1 s"
    assert (found["good"]["dry"], "failed" in found["good"]) == (True, False)
    assert all(part["seconds"] >= 0 for part in found.values())
    assert capfd.readouterr().out == ""
    stat = Path(f"/proc/{found['long']['child']}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_parts_without_time_are_not_run():
    report = run_parts([Part("good", good, 30)], False, 0)
    assert report["parts"] == {"good": {"failed": "not run: no time was left"}}
    assert report["failed"] == ["good"]
