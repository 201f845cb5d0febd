"""The command as a user meets it: help that is quick and complete, exit codes, interrupts and closed pipes."""

import json
import os
import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import sca
from sca import errors
from sca.cli.main import Boundary, app, report

HEAVY = {
    *("accelerate", "av", "datasets", "fastapi", "faster_whisper", "numpy", "onnxruntime", "peft", "pyarrow"),
    *("pydantic", "ray", "soundfile", "tokenizers", "torch", "transformers", "uvicorn", "yt_dlp"),
}


def python(code: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def sca_command(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sca", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


# --- what is loaded, and when ---

LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
RUN = f"from sca.cli.main import run\ntry:\n    run()\nfinally:\n    {LOADED}"


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("config", "--help")])
def test_help_loads_nothing_heavy(arguments):
    done = python(RUN, *arguments)
    assert done.returncode == 0
    assert "sca" in done.stdout
    assert HEAVY & set(done.stderr.split()) == set(), "import it inside the function that needs it"


def test_importing_sca_loads_nothing_but_itself():
    done = python(
        f"import sys; before = set(sys.modules)\nimport sca\nnew = set(sys.modules) - before\n{LOADED}\nprint(*new)"
    )
    assert HEAVY & set(done.stderr.split()) == set()
    assert {name for name in done.stdout.split() if name.startswith("sca")} == {"sca"}


def test_public_names():
    assert sorted(sca.__all__) == [
        "Grid", "ScaError", "Settings", "TextTokenizer", "__version__", "easy_load", "load_settings", "load_tokenizer",
    ]  # fmt: skip
    assert dir(sca) == sorted(sca.__all__)
    assert set(sca._HOME) | {"__version__"} == set(sca.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sca.nonsense


@pytest.mark.parametrize("name", sorted(sca.__all__))
def test_public_names_can_be_had(name):
    assert getattr(sca, name) is not None


# --- help for everything ---


def commands(command, path=()):
    yield path, command
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from commands(below, (*path, name))


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=lambda path: " ".join(path) or "sca")
def test_every_command_has_help(path):
    for flag in ("--help", "-h"):
        done = CliRunner().invoke(app, [*path, flag])
        assert done.exit_code == 0, done.output
        assert "Usage" in done.output


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "sca" for path, _ in ALL])
def test_every_command_and_option_says_what_it_does(path, command):
    assert command.help
    for parameter in command.params:
        assert parameter.name == "help" or getattr(parameter, "hidden", False) or parameter.help, parameter.name


def test_the_module_is_the_command():
    done = sca_command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sca {sca.__version__}\n", "")
    assert "config" in sca_command("--help").stdout


# --- the boundary ---

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ScaError)]


def throwaway(error: BaseException) -> typer.Typer:
    made = typer.Typer(cls=Boundary, rich_markup_mode=None)

    @made.callback()
    def _root() -> None:
        pass

    @made.command()
    def fail() -> None:
        raise error

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_a_line_a_hint_and_its_code(kind):
    done = CliRunner().invoke(throwaway(kind("this went wrong", hint="do that")), ["fail"])
    assert (done.exit_code, done.stderr) == (kind.exit_code, "sca: this went wrong\n     do that\n")
    assert done.stdout == ""


def test_report_prints_and_returns_the_code(capsys):
    assert report(errors.UpstreamError("the hub is away")) == 6
    assert capsys.readouterr() == ("", "sca: the hub is away\n")


def test_errors_out_of_a_task_group_are_unwrapped():
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [errors.InputError("one")]), errors.UpstreamError("two")])
    done = CliRunner().invoke(throwaway(group), ["fail"])
    assert (done.exit_code, done.stderr) == (5, "sca: one\nsca: two\n")


def test_a_bug_among_errors_stays_a_bug():
    done = CliRunner().invoke(
        throwaway(ExceptionGroup("tasks", [errors.InputError("one"), ZeroDivisionError()])), ["fail"]
    )
    assert isinstance(done.exception, ExceptionGroup)


@pytest.mark.parametrize("leave", [typer.Exit(7), typer.Exit(0)])
def test_a_command_may_leave_by_itself(leave):
    assert CliRunner().invoke(throwaway(leave), ["fail"]).exit_code == leave.exit_code


def test_an_interrupt_in_process():
    done = CliRunner().invoke(throwaway(KeyboardInterrupt()), ["fail"])
    assert done.exit_code == 130
    assert "interrupted" in done.stderr


def test_a_bug_is_told_as_one():
    done = python("from sca.cli.main import app, run\n@app.command()\ndef bug():\n    1 / 0\nrun()", "bug")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("sca: this is a bug of sca, not of yours; please report it with the lines above\n")


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["config", "show", "--nonsense"], ["config", "show", "x"]]
)
def test_usage_errors_end_in_2(arguments):
    done = sca_command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: sca" in done.stderr


# --- signals and pipes ---

COMMAND = "import time\nfrom sca.cli.main import app, run\n@app.command()\ndef work():\n    {}\nrun()"
WAIT = COMMAND.format("print('ready', flush=True)\n    time.sleep(50)")
TALK = COMMAND.format("for n in range(LINES):\n        print(n)")


def test_an_interrupt_ends_in_130():
    with subprocess.Popen([sys.executable, "-c", WAIT, "work"], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr == "sca: interrupted; what is finished is kept, and the same command goes on from there\n"


@pytest.mark.parametrize("lines", [3, 100_000])
def test_a_reader_that_leaves_is_no_error(lines):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-c", TALK.replace("LINES", str(lines)), "work"]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


# --- sca config ---


def test_config_show_names_every_source(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[duplex]\nmax_segments = 3\n")
    arguments = ["config", "show", "--config", str(path), "--set", "duplex.lead_chunks=0", "--set", "qwen.revision=v2"]
    done = sca_command(*arguments, env=os.environ | {"SCA_DUPLEX_WINDOW": "session"})
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in done.stdout.splitlines()}
    assert rows["SETTING"].split() == ["FROM", "VALUE"]
    assert rows["audio.frame_hz"].split() == ["default", "12.5"]
    assert rows["duplex.max_segments"].split() == ["file", str(path), "3"]
    assert rows["duplex.window"].split() == ["environment", "SCA_DUPLEX_WINDOW", "session"]
    assert rows["duplex.lead_chunks"].split() == ["command", "line", "0"]


def test_config_show_as_json():
    done = CliRunner().invoke(
        app, ["config", "show", "--json", "--preset", "8x4", "--set", "duplex.text_tokens_per_chunk=3"]
    )
    document = json.loads(done.stdout)
    assert document["audio.frames_per_chunk"] == {"value": 8, "origin": "command line", "env": "SCA_FRAMES_PER_CHUNK"}
    assert document["duplex.text_tokens_per_chunk"]["value"] == 3, "--set beats --preset"
    assert document["qwen.revision"] == {"value": None, "origin": "default", "env": "SCA_QWEN_REVISION"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "duplex.lead=0"], 3, "did you mean duplex.lead_chunks?"),
        (["--set", "duplex.lead_chunks"], 2, "KEY=VALUE"),
        (["--config", "missing.toml"], 3, "there is no such file"),
        (["--preset", "8"], 3, "AUDIOxTEXT"),
        (["--set", "audio.frames_per_chunk=13"], 3, "gives 14 encoder tokens"),
    ],
)
def test_config_show_refuses(arguments, code, words):
    done = CliRunner().invoke(app, ["config", "show", *arguments])
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr


def test_config_default_can_be_read_back(tmp_path):
    path = tmp_path / "sca.toml"
    path.write_text(CliRunner().invoke(app, ["config", "default"]).stdout, encoding="utf-8")
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "--json", "--config", str(path)]).stdout)
    plain = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert {name: one["value"] for name, one in shown.items()} == {name: one["value"] for name, one in plain.items()}
