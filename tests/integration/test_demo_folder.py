"""`sca demo --output DIR` in folders that exist: what it did not write stays untouched."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sca.data.demo import make_demo
from sca.errors import OutputError
from tests.helpers import corpus

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A demo as versions without a marker left it."""
    root = tmp_path_factory.mktemp("made") / "demo"
    make_demo(root, corpus.settings())
    shutil.rmtree(root / ".sca")
    return root


def test_rows_are_the_same_without_posix(made, tmp_path):
    program = "import tests.helpers.no_posix\nfrom sca.cli.main import run\nrun()"
    command = [sys.executable, "-W", "error", "-c", program, "demo", "--output", tmp_path / "demo", "--json"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    report, expected = (json.loads((at / "duplex/report.json").read_text()) for at in (tmp_path / "demo", made))
    assert report["rows_digest"] == expected["rows_digest"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_recordings_are_not_added_to(made, tmp_path):
    corpus.pair(tmp_path / "corpus", audio=1.0)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"corpus/.* is not a file of sca demo"):
        make_demo(tmp_path, corpus.settings())
    assert contents(tmp_path) == before


def test_changed_recording_is_not_replaced(made, tmp_path):
    demo = shutil.copytree(made, tmp_path / "demo")
    (demo / "corpus" / "TXT" / "D0001_S0001_0_G0001.txt").write_text("[0,1]\tA\tmale,none\tmine\n")
    before = contents(demo)
    with pytest.raises(OutputError, match=r"G0001\.txt is not a file of sca demo"):
        make_demo(demo, corpus.settings())
    assert contents(demo) == before


def test_data_set_of_other_settings_is_not_rebuilt(made, tmp_path):
    demo = shutil.copytree(made, tmp_path / "demo")
    (demo / ".lock").unlink()
    before = contents(demo)
    with pytest.raises(OutputError, match="other settings") as error:
        make_demo(demo, corpus.settings(window="session"))
    assert error.value.hint == "give an empty folder with --output"
    assert contents(demo) == before
    assert not (demo / ".sca").exists()


def test_other_files_in_place_of_the_data_set_stay(made, tmp_path):
    demo = shutil.copytree(made, tmp_path / "demo", ignore=shutil.ignore_patterns("duplex", ".lock"))
    (demo / "duplex").mkdir()
    (demo / "duplex" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"duplex has other files in it: notes\.txt"):
        make_demo(demo, corpus.settings())
    assert sorted(path.name for path in demo.iterdir()) == ["corpus", "duplex"]


def test_data_set_of_an_earlier_demo_is_rebuilt(made, tmp_path):
    demo = shutil.copytree(made, tmp_path / "demo")
    assert make_demo(demo, corpus.settings()).details.built == 0
    (demo / "duplex" / "train" / "notes.txt").write_text("mine")
    assert make_demo(demo, corpus.settings(window="session")).details.built == 1
    assert json.loads((demo / "duplex" / "settings.json").read_text())["duplex"]["window"] == "session"
    assert (demo / "duplex" / "train" / "notes.txt").read_text() == "mine"


def test_copy_that_was_killed_is_completed(made, tmp_path):
    shutil.copytree(made / "corpus" / "WAV", tmp_path / "corpus" / "WAV")
    (tmp_path / "corpus" / "TXT").mkdir()
    (tmp_path / "corpus" / "TXT" / ".D0001_S0001_0_G0001.txt.tmp").write_text("[0,")
    assert make_demo(tmp_path, corpus.settings()).details.kept == 1
