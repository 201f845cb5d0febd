"""Help and completion: groups, examples, one name for one thing, values that are offered."""

import json

import pytest
import typer.main

from sca.cli.main import app
from sca.cli.shared.completion import complete_formats, complete_layouts, complete_models
from tests.helpers.command import sca

ROOT = typer.main.get_command(app)


def commands():
    for name, command in ROOT.commands.items():
        for part, inner in getattr(command, "commands", {"": command}).items():
            yield f"{name} {part}".strip(), inner


COMMANDS = dict(commands())


def parsed(name, *words):
    command = COMMANDS[name]
    context = command.context_class(command, info_name=name)
    return command.make_parser(context).parse_args(list(words))[0]


def test_commands_are_listed_in_groups_with_their_whole_summary():
    text = sca("--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options:", "Data:", "Live:", "Tools:"]
    assert "..." not in text.replace("[ARGS]...", "")
    assert "Check a duplex data set against its report, from its files; check that timelines" in " ".join(text.split())


@pytest.mark.parametrize("columns", ["30", "200"])
def test_help_has_examples_and_whole_names(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    text = sca("build-duplex", "--help").stdout
    assert "\n\nExamples:\n  sca build-duplex my_corpus -o my_data\n" in text
    for parameter in COMMANDS["build-duplex"].params:
        if parameter.param_type_name == "option":
            assert all(name in text for name in parameter.opts)


def test_what_a_command_writes_is_named_output():
    for name, command in COMMANDS.items():
        context = command.context_class(command, info_name=name)
        for parameter in command.get_params(context):
            if "-o" in parameter.opts or "--output" in parameter.opts:
                assert parameter.opts == ["--output", "-o"], name


@pytest.mark.parametrize(
    ("name", "earlier"),
    [
        ("download", "--output-path"),
        ("convert", "--output-dir"),
        ("search", "--save-file"),
        ("transcribe", "--save-file"),
        ("live", "--out"),
        ("say", "--out"),
        ("chat", "--out"),
        ("eval turns", "--out"),
    ],
)
def test_earlier_spellings_are_read_and_not_shown(name, earlier):
    assert (
        parsed(name, earlier, "x")
        == parsed(name, "--output", "x")
        == parsed(name, "-o", "x")
        == parsed(name, f"{earlier}=x")
    )
    assert f"{earlier} " not in sca(*name.split(), "--help").stdout


def test_an_option_of_its_own_is_no_earlier_spelling():
    given = parsed("transcribe", "--output-dir", "x", "-o", "y")
    assert (given["output_dir"], given["save_file"]) == ("x", "y")


def test_names_are_completed():
    assert complete_layouts("mo") == ["moshi"]
    assert complete_formats("pa") == ["parquet"]
    assert complete_models("whisper-t") == ["whisper-tiny-en"]


def test_results_name_their_schema(tmp_path):
    document = json.loads(sca("turn", "stop", "--state-dir", tmp_path / "none", "--json").stdout)
    assert document == {"schema": "sca.turn.stop/1", "process": None, "killed": False, "removed": []}
    assert "schema" not in json.loads(sca("config", "show", "--json").stdout)


def test_verbose_prints_the_causes_of_an_error_once(tmp_path):
    words = ("verify", tmp_path / "nowhere\x1b[2J")
    for shown, done in ((True, sca(*words, "-v")), (False, sca(*words))):
        assert done.returncode == 5
        assert done.stderr.startswith("sca: ")
        assert ("Traceback" in done.stderr) is shown
        assert "\x1b" not in done.stderr


def test_every_command_shows_details_or_has_a_log():
    for name, command in COMMANDS.items():
        context = command.context_class(command, info_name=name)
        opts = {opt for parameter in command.get_params(context) for opt in parameter.opts}
        assert ("-v" in opts) is not name.endswith("serve"), name
