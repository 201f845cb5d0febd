"""Text helpers of messages."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from sca.textutil import command_line, counted, first_line, json_text, printable


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


CONTROLS = "a\x1b[31mb\r\n\u202ec\u2028d\x07\x7f\x9b\udc80"


def test_printable_escapes_what_controls_a_terminal():
    assert printable(CONTROLS) == r"a\x1b[31mb\r\n\u202ec\u2028d\x07\x7f\x9b\udc80"
    assert printable(CONTROLS).isprintable()


@pytest.mark.parametrize("text", ["grüß dich, 你好\u3000🙂", "می\u200cخواهم", "👩\u200d💻", "a\u00a0b", r"\x1b stays"])
def test_printable_changes_no_text_of_any_script(text):
    assert printable(text) == text


@pytest.mark.parametrize("ascii_only", [False, True])
def test_json_is_the_same_document_without_controls(ascii_only):
    document = {"title": CONTROLS + "\U000e0041é", "list": [1, None, "\n"]}
    text = json_text(document, indent=2, ascii_only=ascii_only)
    assert json.loads(text) == document
    assert text.replace("\n", "").isprintable()
    assert text.isascii() is ascii_only


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
