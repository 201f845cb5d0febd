"""The matrix of commands and faults: a part of it, and faults that are planted so that it must find them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MATRIX = """
import json, shutil, sys, tempfile
from dataclasses import replace
from pathlib import Path

from scripts import chaos
from scripts.faults.cells import Lab
from scripts.faults.commands import COMMANDS

sys.argv = ["chaos.py", "--matrix", "say", "export moshi", "--every", "60"]
try:
    chaos.main()
except SystemExit as end:
    code = end.code


def through_links():
    import sca.files.atomic as atomic
    atomic.create_new = lambda temporary: temporary.open("ab").close()


def no_error():
    import sca.files.atomic as atomic
    from contextlib import suppress
    plain = atomic.publish
    def publish(temporary, path):
        with suppress(OSError):
            plain(temporary, path)
    atomic.publish = publish


found = {}
for plant, name, fault, every in ((through_links, "say", "link", 3), (no_error, "say", "ENOSPC", 4)):
    base = Path(tempfile.mkdtemp())
    lab = Lab(replace(COMMANDS[name], patch=plant), base)
    found[plant.__name__] = lab.cell(fault, every).failed
    shutil.rmtree(base)
print(json.dumps({"code": code, "planted": found}))
"""

CUT = """
import json, os, pickle, sys
from pathlib import Path

from scripts.faults.power import PowerCuts
from scripts.faults.steps import Disk

root, store = Path(sys.argv[1]) / "work", Path(sys.argv[1]) / "images"
root.mkdir()
store.mkdir()
(root / "old").write_text("old")
cuts = PowerCuts(root, store, frozenset())
Disk(root, cuts).install()
(root / "plain").write_text("never synced")
with (root / ".new.tmp").open("w") as file:
    file.write("new")
    file.flush()
    os.fsync(file.fileno())
(root / ".new.tmp").replace(root / "old")
cuts.end()
images = {loss: key for key, places in cuts.images.items() for number, loss in places if number == -1}
found = {loss: dict(pickle.loads((store / key).read_bytes())) for loss, key in images.items()}
print(json.dumps({loss: {name: text.decode() for name, text in image.items()} for loss, image in found.items()}))
"""


def python(*words):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def matrix():
    """Run a part of the matrix, and cells with planted faults, in one process: imports take most of the time."""
    printed = python("-c", MATRIX).splitlines()
    return printed[:-2], json.loads(printed[-2]), json.loads(printed[-1])


def test_a_part_of_the_matrix_survives(matrix):
    table, report, end = matrix
    cells = {f"{name}: {fault}": cell for name, row in report["cells"].items() for fault, cell in row.items()}
    assert {name: cell["failed"] for name, cell in cells.items() if cell["failed"]} == {}
    assert end["code"] == 0
    idle = {name for name, cell in cells.items() if not cell["ok"] + cell["refused"]}
    assert idle == {"say: replaced", "say: rewritten", "export moshi: replaced", "export moshi: rewritten"}
    assert cells["export moshi: kill"]["ok"] > 1
    assert "FAIL" not in "".join(table)


def test_planted_faults_are_found(matrix):
    found = matrix[2]["planted"]
    assert any("through a link" in line or "changed stranger" in line for line in found["through_links"]), found
    assert any("ended with 0, but missing: out/" in line for line in found["no_error"]), found


def test_a_power_cut_loses_what_was_never_synced(tmp_path):
    found = json.loads(python("-c", CUT, str(tmp_path)))
    assert found["data"] == {"old": "new", "plain": ""}
    assert found["names"] == {"old": "old", "plain": "", ".new.tmp": "new"}
    assert found["folders"] == {"old": "old", ".new.tmp": "new"}
