"""The matrix of commands and faults: a part of it, and faults that are planted so that it must find them."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PLANTED = """
import json, shutil, sys, tempfile
from dataclasses import replace
from pathlib import Path

from scripts.faults.cells import Lab
from scripts.faults.commands import COMMANDS


def no_check():
    from sca.data.runs.files import Unchanged, file_stat
    Unchanged.check = lambda self: None
    Unchanged.stat = property(lambda self: file_stat(self._path))


def no_word():
    from sca.data.runs.ledger import Ledger
    plain = Ledger.append
    def append(self, entry):
        try:
            plain(self, entry)
        except Exception:
            sys.exit(0)
    Ledger.append = append


found = {}
for plant, fault, every in ((no_check, "replaced", 12), (no_word, "ENOSPC", 5)):
    base = Path(tempfile.mkdtemp())
    lab = Lab(replace(COMMANDS["transcode"], patch=plant), base)
    found[plant.__name__] = lab.cell(fault, every).failed
    shutil.rmtree(base)
print(json.dumps(found))
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
    return done, json.loads(done.stdout.splitlines()[-1])


def test_a_part_of_the_matrix_survives():
    done, report = python("scripts/chaos.py", "--matrix", "transcode", "--every", "17")
    cells = report["cells"]["transcode"]
    assert {name: cell["failed"] for name, cell in cells.items() if cell["failed"]} == {}
    assert done.returncode == 0
    assert all(cell["ok"] + cell["refused"] for cell in cells.values()), cells
    assert cells["kill"]["refused"] == 0
    assert "FAIL" not in done.stdout


def test_planted_faults_are_found():
    _, found = python("-c", PLANTED)
    assert any("after another run, other bytes: out/talk" in line for line in found["no_check"]), found
    assert any("ended with 0, but missing: out/ledger.jsonl" in line for line in found["no_word"]), found


def test_a_power_cut_loses_what_was_never_synced(tmp_path):
    _, found = python("-c", CUT, str(tmp_path))
    assert found["data"] == {"old": "new", "plain": ""}
    assert found["names"] == {"old": "old", "plain": "", ".new.tmp": "new"}
    assert found["folders"] == {"old": "old", ".new.tmp": "new"}
