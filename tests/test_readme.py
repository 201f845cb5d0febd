"""The README: its first commands, and its table of commands. `test_docs.py` runs its blocks."""

import re
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


def test_table_of_commands_agrees_with_their_help():
    group = typer.main.get_command(app)
    shown = {name: command.help for name, command in group.commands.items() if not command.hidden}
    table = dict(re.findall(r"^\| `sca ([a-z-]+)` \| (.*?)(?: \(\[.*\]\(.*\)\))? \|$", README, re.MULTILINE))
    assert table.keys() == shown.keys()
    for name, text in table.items():
        summary = " ".join(shown[name].split("\n\n")[0].split())
        assert f"{text[0].upper()}{text[1:]}." == summary, name


def test_pictures_are_small():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures == ["docs/inspect.png", "docs/grid.svg"]
    assert all((ROOT / picture).stat().st_size <= 150_000 for picture in pictures)
