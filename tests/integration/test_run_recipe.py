"""`sca run`: signals and `kill -9` while a stage runs, a recipe end to end, and what the command prints."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.command import sca
from tests.helpers.timeouts import TIMEOUT_S, until

# A run whose stage waits for a signal. It writes its process id, and what ended it.
STUB = """
import signal, sys, time
from pathlib import Path

def end(number, frame):
    Path("ended").write_text(signal.Signals(number).name)
    if not Path("stubborn").exists():
        sys.exit(130)

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
Path("pid.part").write_text(str(__import__("os").getpid()))
Path("pid.part").rename("pid")
while not Path("finish").exists():
    time.sleep(0.01)
Path("rows").mkdir(exist_ok=True)
"""
RUN = """
import signal, sys
from functools import partial
from pathlib import Path
from sca.cli.shared.signals import end_on_signals
from sca.recipes.child import run_child
from sca.recipes.format import RecipeHead
from sca.recipes.plan import Plan, PlannedStage
from sca.recipes.run import run_recipe
from sca.recipes.source import Source

signal.signal(signal.SIGINT, signal.default_int_handler)
end_on_signals()
stage = PlannedStage("wait", "export", (), (), "rows", "key", "continue")
plan = Plan(RecipeHead(name="talk", folder="made"), Source("talk.toml", ""), Path("made"), {}, (stage,))
try:
    results = run_recipe(plan, child=partial(run_child, program=(sys.executable, "stub.py")))
except KeyboardInterrupt:
    sys.exit(130)
print(results[0].state)
"""


@pytest.fixture
def waiting(tmp_path):
    """Start a run in a folder, and wait for its stage."""
    (tmp_path / "stub.py").write_text(STUB)
    started = []

    def start():
        words = [sys.executable, "-c", RUN]
        process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        until(lambda: (tmp_path / "pid").exists() or process.poll() is not None)
        return process, psutil.Process(int((tmp_path / "pid").read_text()))

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_reach_the_stage(waiting, tmp_path, number, code):
    process, stage = waiting()
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == code
    assert (tmp_path / "ended").read_text() == "SIGTERM"
    assert not stage.is_running()


def test_second_interrupt_kills_the_stage(waiting, tmp_path):
    (tmp_path / "stubborn").touch()
    process, stage = waiting()
    process.send_signal(signal.SIGINT)
    until(lambda: (tmp_path / "ended").exists())
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 130
    assert not stage.is_running()


def test_kill_of_the_run_and_of_the_stage(waiting, tmp_path):
    process, stage = waiting()
    process.kill()
    process.wait(TIMEOUT_S)
    until(lambda: not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE)
    ledger = tmp_path / "made" / ".sca" / "run.jsonl"
    assert json.loads(ledger.read_text())["status"] == "started"
    (tmp_path / "pid").unlink()
    process, stage = waiting()  # the lock of the killed run is free
    stage.kill()
    assert process.communicate()[0] == "failed\n"
    (tmp_path / "pid").unlink()
    process, _ = waiting()
    (tmp_path / "finish").touch()
    assert process.communicate()[0] == "done\n"
    assert [json.loads(line)["status"] for line in ledger.read_text().splitlines()] == ["kept"]


def test_shipped_recipe_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    words = ("run", "synth", "--var", "hours=0.005", "--until", "build-duplex", "-o", "made", "--json")
    done = sca(*words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "sca.run/1"
    assert [stage["state"] for stage in document["stages"]] == ["done", "done", "not selected", "not selected"]
    assert json.loads((tmp_path / "made" / "rows" / "report.json").read_text())
    again = json.loads(sca(*words).stdout)
    assert [stage["state"] for stage in again["stages"]][:2] == ["done before", "done before"]


def test_failing_stage_keeps_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    (tmp_path / "broken.toml").write_text(
        '[recipe]\nname = "broken"\nfolder = "made"\n[[stage]]\ncommand = "export"\narguments = ["nothing"]\n'
        'to = "parquet"\noutput = "{folder}/out"\n'
    )
    done = sca("run", "broken.toml")
    assert done.returncode == 5
    assert "stage export: exit code 5" in done.stderr
    assert done.stdout.splitlines()[1].split()[:3] == ["export", "failed", "(5)"]


def test_list_and_copy(tmp_path):
    assert json.loads(sca("run", "--list", "--json").stdout)["schema"] == "sca.run.list/1"
    listed = sca("run", "--list").stdout
    assert all(name in listed for name in ("comedy", "magichub", "podcast", "synth"))
    mine = tmp_path / "mine.toml"
    assert sca("run", "synth", "--copy", mine).returncode == 0
    assert 'name = "synth"' in mine.read_text()
    assert sca("run", "synth", "--copy", mine).returncode == 5
    assert sca("run").returncode == 2
    assert "did you mean synth?" in sca("run", "synt").stderr


def test_unknown_option_ends_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Path("bad.toml")
    recipe.write_text('[recipe]\nname = "bad"\nfolder = "made"\n[[stage]]\ncommand = "synth"\nhour = 1\n')
    done = sca("run", recipe)
    assert done.returncode == 3
    assert done.stderr.startswith("sca: bad.toml:6: sca synth has no option hour\n")
    assert [path.name for path in Path().iterdir()] == ["bad.toml"]
