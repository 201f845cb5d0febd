"""The commands that commands print to continue run as printed, also for folders whose names a shell acts on."""

import re
import subprocess
from importlib.resources import files

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.errors import InputError
from sca.word_times.profile import find_profile
from tests.helpers import corpus
from tests.test_docs import problems

ODD = "it's $HOME & data [v1]"


def sca(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def words_of(line, folder):
    """The words of a printed command after `sca`, as a shell reads them."""
    shown = subprocess.run(
        ["bash", "-c", f"sca() {{ printf '%s\\0' \"$@\"; }}; {line}"], cwd=folder, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.split("\0")[:-1]


def printed(output, before):
    (line,) = re.findall(rf"^{before}  (sca .*)$", output, re.MULTILINE)
    return line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "20")
    return tmp_path


def test_next_steps_of_the_demo(folder):
    made = sca("demo", "--output", ODD)
    steps = [line.strip() for line in made.stdout.split("Try next:")[1].splitlines() if line.strip()]
    assert len(steps) == 3
    for step in steps:
        sca(*words_of(step, folder))
    assert (folder / ODD / "session").is_dir()
    built = sca("build-duplex", f"{ODD}/corpus", "--output", f"{ODD}/duplex")
    assert "(0 built now" in built.stdout, "the demo is what a build with the default settings makes"
    sca("demo", "--output", ODD)


def test_checks_after_build_and_export(folder):
    corpus.pair(folder / "corpus")
    built = sca("build-duplex", "corpus", "--output", ODD)
    words = words_of(printed(built.stdout, "verify it:"), folder)
    assert words == ["verify", ODD]
    sca(*words)
    written = sca("export", ODD, "--to", "parquet", "--output", f"-{ODD}")
    words = words_of(printed(written.stdout, "verify it:"), folder)
    assert words == ["verify", f"./-{ODD}"]
    sca(*words)


def test_build_after_synth(folder):
    (folder / "script.jsonl").write_text(
        '{"speaker": "ann", "text": "Have you tried the new cafe?"}\n{"speaker": "ben", "text": "Not yet."}\n'
    )
    made = sca("synth", "script.jsonl", "-o", ODD, "--voices", "espeak:en-us,espeak:en-gb")
    words = words_of(printed(made.stdout, "build it:"), folder)
    sca(*words)
    assert (folder / "my_data" / "report.json").is_file()


def test_calibration_of_a_model(folder):
    """The measurement takes minutes: its command is parsed."""
    names = files("sca.resources").joinpath("word_times").iterdir()
    shipped = next(name for name in names if name.name.startswith("transcribe"))
    (folder / "profile.json").write_text(shipped.read_text(encoding="utf-8"))
    with pytest.raises(InputError) as found:
        find_profile("profile.json", ODD, "ctc", folder)
    words = words_of(found.value.hint.removeprefix("measure one: "), folder)
    assert words == ["calibrate", "--model", ODD, "--use", "ctc"]
    assert problems(["sca", *words]) == []
