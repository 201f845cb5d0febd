"""The loop closes: rows of the demo are learned by heart, and the live engine hears the listener and says the row.

One training serves all tests of this file: a LoRA adapter on rows with control tokens, killed at a third and resumed.
"""

import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from sca.data.duplex.load.dataset import load
from sca.errors import MissingToolError
from sca.infer.engines.qwen_omni.loading import requirements
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from tests.helpers import command, corpus

SECONDS = 10.5
STEPS, KILLED_AT = 150, 50
START, STOP = 151648, 151649
DUPLEX = ("--set", f"duplex.start_id={START}", "--set", f"duplex.stop_id={STOP}")
SHORT = """
import contextlib, pathlib, sys
import sca.data.demo
from sca.cli.main import app
source = pathlib.Path(sys.argv.pop(1))
sca.data.demo.demo_corpus = lambda: contextlib.nullcontext(source)
app()
"""


def words(folder):
    training = ("--set", f"train.max_steps={STEPS}", "--set", f"train.save_every={KILLED_AT}")
    return ("demo", "--train", "-o", folder, "--json", *training, *DUPLEX)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return corpus.short_demo(tmp_path_factory.mktemp("source") / "corpus", SECONDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, source):
    """The folder of `sca demo --train` that was killed with SIGKILL after its first checkpoint, and run again."""
    folder = tmp_path_factory.mktemp("loop") / "demo"
    python = [sys.executable, "-c", SHORT, str(source), *map(str, words(folder))]
    with subprocess.Popen(python, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as killed:
        whole = folder / "run" / f"checkpoint-{KILLED_AT}" / "complete.json"
        while not whole.exists():
            assert killed.poll() is None, killed.stderr.read().decode()
            time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    return folder


@pytest.fixture(scope="module")
def replayed(folder, source):
    """The second run, in this process: its document."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sca.data.demo.demo_corpus", lambda: contextlib.nullcontext(source))
        done = command.sca(*words(folder))
    assert done.returncode == 0, done.stderr
    assert f"checkpoint-{KILLED_AT}" in done.stderr
    return json.loads(done.stdout)["trained"]


def test_killed_demo_continues_and_replays_its_rows(replayed):
    assert replayed["steps"] == STEPS
    assert replayed["chunks"] >= 31
    assert replayed["chunks"] - replayed["equal_chunks"] <= 1


def test_is_silent_where_the_row_is_silent(replayed):
    silent, wanted = replayed["silent_chunks"]
    assert wanted > 15
    assert wanted - silent <= 1


def test_live_file_says_the_row(replayed, folder, tmp_path):
    """`sca live --file` hears the recording of the listener; with control tokens, each turn has its start and end."""
    row = load(folder / "lesson")[0]
    assert {START, STOP} <= set(row.input_ids.tolist())
    soundfile.write(tmp_path / "heard.wav", row.heard.ravel(), 16_000, subtype="FLOAT")
    model = (f"qwen.model_id={replayed['model']}", f"qwen.adapter={replayed['adapter']}", "qwen.device_map=cpu")
    done = command.sca(
        "live", "--file", tmp_path / "heard.wav", "--engine", "qwen-omni", "--out", tmp_path / "said.wav",
        "--transcript", tmp_path / "said.txt", *(word for one in model for word in ("--set", one)), *DUPLEX,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = " ".join((tmp_path / "said.txt").read_text().split())
    tokenizer = load_tokenizer(BUILTIN_QWEN)
    spoken = [segment["text"] for segment in row.segments]
    assert spoken
    for text in spoken:
        assert " ".join(text.split()) in said, (said, tokenizer.decode(row.input_ids.tolist()))


def test_demo_names_the_extra_before_it_writes(tmp_path, monkeypatch):
    find = requirements.find_spec
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == "accelerate" else find(name))
    done = command.sca("demo", "--train", "-o", tmp_path / "demo")
    assert done.returncode == MissingToolError.exit_code == 4
    assert "sca demo --train needs accelerate" in done.stderr
    assert "train" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "demo").exists()
