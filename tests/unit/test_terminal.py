"""Output of the commands: data is printed literally, on one line, whole, and in any encoding."""

import ast
import io
import sys
from pathlib import Path

import pytest
from rich.text import Text

from sca.cli.shared import console
from sca.cli.shared.terminal import SafeConsole, data_table, print_table

CLI = Path(console.__file__).parents[1]
NAME = "x[/a] [bold]data [v1] :smile: \x1b]0;title\x07\x1b[31m\u202e\nsca: all is well"
SHOWN = r"x[/a] [bold]data [v1] :smile: \x1b]0;title\x07\x1b[31m\u202e\nsca: all is well"


@pytest.mark.parametrize(
    "print_name",
    [
        lambda: console.out().print(NAME),
        lambda: console.print_line(NAME),
        lambda: console.print_fields(NAME),
    ],
)
def test_data_is_one_literal_line(print_name, capsys):
    print_name()
    assert capsys.readouterr() == (f"{SHOWN}\n", "")


def test_styled_text_has_no_controls_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    SafeConsole().print(Text.assemble(("name", "bold"), " \x1b[2J\x9b"))
    assert capsys.readouterr().out == "\x1b[1mname\x1b[0m \\x1b[2J\\x9b\n"


def test_text_of_a_model_keeps_its_line_breaks(capsys):
    console.print_text("one\ntwo \x1b[2J")
    assert capsys.readouterr().out == "one\ntwo \\x1b[2J"


def test_notes_and_errors_are_one_line(capsys):
    console.print_note(NAME)
    console.print_notes([NAME])
    assert capsys.readouterr() == ("", f"{SHOWN}\nsca: {SHOWN}\n")


@pytest.mark.parametrize("columns", [30, 60, 200])
@pytest.mark.parametrize("terminal", [False, True])
def test_tables_never_cut_a_cell(columns, terminal, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    name = "a-very-long-name-without-a-space-" * 3
    table = data_table("index", "name")
    table.add_row("1234", name)
    print_table(table)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "1234" in shown
    assert name in "".join(shown.split()).replace("1234", "").removeprefix("\x1b[1mindex\x1b[0m\x1b[1mname\x1b[0m")
    assert terminal or shown.splitlines()[1].rstrip().endswith(name), "a row is one line in a pipe"


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-8"])
def test_other_encodings_degrade_to_question_marks(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    console.prepare_streams()
    console.print_line("→ 你 ok")
    console.out().print("▁ ok")
    console.emit_json({"text": "你\udc80"})
    sys.stdout.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown.count("ok") == 2
    assert ("你" in shown) is (encoding == "utf-8")
    assert encoding == "utf-8" or (r"\u4f60" in shown and "?" in shown)


def test_closed_pipe_is_an_error_of_the_pipe(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        console.out().print("text")


def test_commands_print_through_one_module():
    """No command writes to a stream or makes a Rich console, which would print names as they are."""
    found = []
    for file in CLI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in {"sys.stdout.write", "sys.stderr.write", "print", "Console", "Table"}:
                    found.append(f"{file.relative_to(CLI)}:{node.lineno}")
    assert [place for place in found if not place.startswith(("shared/console.py", "shared/terminal.py"))] == []
