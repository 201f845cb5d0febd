"""Help and completion: groups, examples, one name for one thing, values that are offered."""

import json
import re
from pathlib import Path

import pytest
import typer.main

from sca.cli.main import app
from sca.cli.shared.completion import complete_formats, complete_layouts, complete_models
from sca.data.corpora.registry import corpus_formats
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("export", "data", "--to", "parquett", "-o", "out"), "--to: parquett is not an export format"),
        (("build-duplex", ".", "--format", "nosuch", "-o", "out"), "--format: nosuch is not a corpus format"),
        (("say", "hi", "--engine", "nosuch"), "--engine: speech engine nosuch does not exist"),
        (("live", "--mic", "--backend", "nosuch"), "--backend: audio backend nosuch does not exist"),
        (("eval", "talk", "--set", "live.engine=nosuch"), "--set live.engine: engine nosuch does not exist"),
        (("eval", "talk", "--scenarios", "hold,nosuch"), "--scenarios: the scenario nosuch does not exist"),
        (("synth", "--shipped", "cofe", "-o", "out"), "--shipped: no script named cofe ships with sca"),
    ],
)
def test_an_unknown_name_is_blamed_on_its_option(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = sca(*words)
    first, hint = done.stderr.splitlines()
    assert done.returncode == 2
    assert first == f"sca: {message}"
    assert "available: " in hint


def test_an_unknown_name_as_an_argument_has_no_option():
    assert sca("models", "get", "nosuch").stderr.startswith("sca: there is no model 'nosuch' in the catalogue\n")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("buid-duplex", "No such command 'buid-duplex'. Did you mean 'build-duplex'?"),
        ("warmupp", "No such command 'warmupp'. Did you mean 'turn warmup'?"),
        ("--x\x1b[2J", "No such option: --x\\x1b[2J"),
        ("--vresion", "No such option: --vresion (Possible options: --version)"),
        ("nos\x1b[2Juch", "No such command 'nos\\x1b[2Juch'."),
    ],
)
def test_a_wrong_command_is_escaped_and_the_nearest_is_named(word, message):
    done = sca(word)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"Error: {message}"


def test_another_layout_is_named_and_all_that_exist(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    names = [name for name in corpus_formats() if name != "auto"]
    for given in ("moshi", "lhotse", "nemo", "events", "table", "spokenwoz", "kaldi", "stereo"):
        done = sca("build-duplex", tmp_path, "--format", given, "-o", tmp_path / "out")
        assert done.returncode == 5
        assert f"{tmp_path} does not have the layout {given}" in done.stderr
        assert "; found 1 .txt file\n" in done.stderr
        assert all(f"{name} (" in done.stderr for name in names), "every layout has a description"
        assert "Errno" not in done.stderr
    command = COMMANDS["build-duplex"]
    (option,) = [one for one in command.get_params(typer.Context(command)) if "--format" in one.opts]
    assert option.metavar == f"[{'|'.join(corpus_formats())}|NAME]"


def test_names_are_completed():
    assert complete_layouts("mo") == ["moshi"]
    assert complete_formats("pa") == ["parquet"]
    assert complete_models("whisper-t") == ["whisper-tiny-en"]


def test_results_name_their_schema(tmp_path):
    document = json.loads(sca("turn", "stop", "--state-dir", tmp_path / "none", "--json").stdout)
    assert document == {"schema": "sca.turn.stop/1", "process": None, "killed": False, "removed": []}


def test_each_option_for_json_has_its_schema_in_the_page():
    """The page lists one schema per command with --json, and those of other results of the same command."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "shell.md").read_text(encoding="utf-8")
    listed = {
        text.removeprefix("sca.").partition("/")[0] for text in re.findall(r"^\| `(sca\.[a-z.-]+/\d+)`", page, re.M)
    }
    with_json = set()
    for name, command in COMMANDS.items():
        context = command.context_class(command, info_name=name)
        if not command.hidden and any("--json" in parameter.opts for parameter in command.get_params(context)):
            with_json.add(name.replace(" ", "."))
    other = {"build-duplex.script", "chat.list", "chat.mic", "inspect.html", "inspect.pages", "say.list", "synth.list"}
    other |= {"eval.fdb.sweep", "run.list", "run.plan", "train.check", "train.plan", "watch.report"}
    assert listed == with_json | other | {"verify.timelines"}


@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("models",),
        ("models", "check"),
        ("say", "--list"),
        ("synth", "--list"),
        ("doctor",),
        ("turn", "logs", "--state-dir", "none"),
    ],
)
def test_results_have_the_fields_of_the_page(words):
    document = json.loads(sca(*words, "--json").stdout)
    page = (Path(__file__).resolve().parents[2] / "docs" / "shell.md").read_text(encoding="utf-8")
    (fields,) = re.findall(rf"^\| `{re.escape(document['schema'])}` \| (.*) \|$", page, re.M)
    named = set(re.findall("`(.*?)`", fields))
    assert set(document) - {"schema"} <= named or words == ("config", "show")
    assert all(set(item) <= named for item in document.get("items", []))


def test_the_log_has_one_document_or_no_end(tmp_path):
    done = sca("turn", "logs", "--json", "--tail", "--state-dir", tmp_path)
    assert done.returncode == 2
    assert "--tail does not end" in done.stderr


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
