"""The README: its first commands, what the demo prints, and its table of commands. `test_docs.py` runs its blocks."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import typer.main

from sca.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_first_two_commands():
    assert blocks("bash")[0].strip() == "pip install uv && uv run sca demo"
    assert blocks("bash")[1].strip() == "bash scripts/test"


def test_next_steps_of_the_demo_run(tmp_path):
    def sca(*words):
        return subprocess.run([sys.executable, "-m", "sca", *words], cwd=tmp_path, capture_output=True, text=True)

    done = sca("demo")
    assert done.returncode == 0, done.stderr
    next_steps = [line.strip() for line in done.stdout.split("Try next:")[1].splitlines() if line.strip()]
    assert len(next_steps) == 3
    for step in next_steps:
        tried = sca(*shlex.split(step)[1:])
        assert tried.returncode == 0, f"{step}\n{tried.stderr}"
    built = sca("build-duplex", "dataset/demo/corpus", "--output", "dataset/demo/duplex")
    assert "(0 built now" in built.stdout, "the demo is what a build with the default settings makes"
    assert sca("demo").returncode == 0, "the demo runs a second time"


def test_table_of_commands_agrees_with_their_help():
    group = typer.main.get_command(app)
    shown = {name: command.help for name, command in group.commands.items() if not command.hidden}
    table = dict(re.findall(r"^\| `sca ([a-z-]+)` \| (.*?)(?: \(\[.*\]\(.*\)\))? \|$", README, re.MULTILINE))
    assert table.keys() == shown.keys()
    for name, text in table.items():
        summary = " ".join(shown[name].split("\n\n")[0].split())
        assert f"{text[0].upper()}{text[1:]}." == summary, name
