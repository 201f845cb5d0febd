"""Text helpers of messages."""

import os
import subprocess
from pathlib import Path

import pytest

from sca.textutil import command_line, counted, first_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (counted(0, "row"), "0 rows"),
        (counted(1, "row"), "1 row"),
        (counted(2, "row"), "2 rows"),
        (counted(1, "line or file", "lines or files"), "1 line or file"),
        (counted(3, "line or file", "lines or files"), "3 lines or files"),
    ],
)
def test_counted_uses_singular_and_plural(text, expected):
    assert text == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError("\n  padded  \nsecond"), "padded  "),
        (KeyError(), "KeyError"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_first_line_of_an_exception(error, expected):
    assert first_line(error) == expected


@pytest.mark.skipif(os.name == "nt", reason="other quotes")
@pytest.mark.parametrize(
    "name", ["my data", "it's", "$HOME", "a*b", "data [v1]", "~", "-odd", "plain", "über", "a\\b", '"']
)
def test_shell_reads_printed_commands_as_given(name, tmp_path):
    line = command_line("verify", Path(name), "--json")
    shown = subprocess.run(
        ["bash", "-c", f"sca() {{ printf '%s\\n' \"$@\"; }}; {line}"], capture_output=True, cwd=tmp_path
    )
    assert shown.stdout.decode().splitlines() == ["verify", "./-odd" if name == "-odd" else name, "--json"]


def test_plain_commands_have_no_quotes():
    assert command_line("verify", Path("my_data/x-1"), "--set", "a.b=1") == "sca verify my_data/x-1 --set a.b=1"
