"""The command line: quick and complete help, options of settings, exit codes, interrupts and closed pipes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import sca
from sca import errors
from sca.cli.main import Boundary, app, report
from sca.cli.shared.settings_options import SettingsCommand, settings_options
from sca.config import known_keys
from tests.helpers import command as in_process

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {
    *("accelerate", "av", "datasets", "fastapi", "faster_whisper", "numpy", "onnxruntime", "peft", "pyarrow"),
    *("pydantic", "ray", "soundfile", "tokenizers", "torch", "transformers", "uvicorn", "yt_dlp"),
}


def python(code: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, **options)


def sca_command(*arguments: str, **options) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "sca", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, **options)


# --- imports ---

LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
RUN = f"from sca.cli.main import run\ntry:\n    run()\nfinally:\n    {LOADED}"


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("config", "--help"), ("turn", "-h"), ("eval", "-h")]
)
def test_help_loads_nothing_heavy(arguments):
    done = python(RUN, *arguments)
    assert done.returncode == 0
    assert "sca" in done.stdout
    assert HEAVY & set(done.stderr.split()) == set(), "import it inside the function that needs it"


LOAD_SETTINGS_ONLY = [
    *("build-duplex", "convert", "live", "serve", "inspect", "turn serve", "eval fdb", "eval talk", "demo"),
]
RUN_ALL = f"""
import sys
from sca.cli.main import run
for words in {LOAD_SETTINGS_ONLY}:
    sys.argv = ["sca", *words.split(), "--help"]
    try:
        run()
    except SystemExit as end:
        loaded = {{name.partition(".")[0] for name in sys.modules}}
        print(end.code, words, *sorted(loaded.intersection({sorted(HEAVY - {"pydantic"})})), sep="; ", file=sys.stderr)
"""


def test_help_of_commands_loads_only_the_settings():
    """In one process, so the first command that loads more is the one to change."""
    done = python(RUN_ALL)
    assert done.stderr.splitlines() == [f"0; {words}" for words in LOAD_SETTINGS_ONLY]
    assert done.stdout.count("Usage: sca ") == len(LOAD_SETTINGS_ONLY), "import it inside the function that needs it"


def test_importing_sca_loads_only_its_version():
    done = python(
        f"import sys; before = set(sys.modules)\nimport sca\nnew = set(sys.modules) - before\n{LOADED}\nprint(*new)"
    )
    assert HEAVY & set(done.stderr.split()) == set()
    assert {name for name in done.stdout.split() if name.startswith("sca")} == {"sca", "sca.distribution"}


def test_public_names():
    assert sorted(sca.__all__) == [
        "Conversation", "DuplexRows", "Engine", "Grid", "Issue", "LiveSession", "RunSummary", "ScaError", "Settings",
        "StreamingConversation", "StreamingConversationalChatbot", "StreamingRecognizer", "StreamingWhisperASR",
        "TextTokenizer", "Verification", "__version__", "build", "easy_load", "export", "load", "load_engine", "load_settings",
        "load_tokenizer", "read_corpus", "run_engine", "synthesize", "transcribe", "verify",
    ]  # fmt: skip
    assert dir(sca) == sorted(sca.__all__)
    assert set(sca._MODULES) | {"__version__"} == set(sca.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sca.nonsense


@pytest.mark.parametrize("name", sorted(sca.__all__))
def test_public_name_can_be_imported(name):
    assert getattr(sca, name) is not None


# --- help for everything ---


def commands(command, path=()):
    yield path, command
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from commands(below, (*path, name))


def parameters_of(command):
    return command.get_params(command.context_class(command, info_name=command.name))


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=lambda path: " ".join(path) or "sca")
def test_every_command_has_help(path):
    for flag in ("--help", "-h"):
        done = CliRunner().invoke(app, [*path, flag])
        assert done.exit_code == 0, done.output
        assert "Usage" in done.output


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "sca" for path, _ in ALL])
def test_every_command_and_option_has_a_description(path, command):
    assert command.help
    for parameter in parameters_of(command):
        assert parameter.name == "help" or getattr(parameter, "hidden", False) or parameter.help, parameter.name


def test_module_is_the_command():
    done = sca_command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sca {sca.__version__}\n", "")
    assert "config" in sca_command("--help").stdout


# --- options of settings ---

KEYS = {key.flag.name: [] for key in known_keys() if key.flag}
for key in known_keys():
    if key.flag:
        KEYS[key.flag.name].append(key)


def options_of_settings():
    """Every option of a command that stands for a setting, with the command's path and the setting's key."""
    for path, command in ALL:
        for parameter in parameters_of(command):
            name = (parameter.name or "").replace("__", ".")
            keys = [key for key in KEYS.get(parameter.opts[0], []) if key.name == name]
            if keys:
                yield path, parameter, keys[0]


OPTIONS = list(options_of_settings())


def test_every_flag_is_an_option_of_a_command():
    assert {key.name for _, _, key in OPTIONS} == {key.name for keys in KEYS.values() for key in keys}


@pytest.mark.parametrize(
    ("path", "parameter", "key"),
    OPTIONS,
    ids=[f"{' '.join(path)} {parameter.opts[0]}" for path, parameter, _ in OPTIONS],
)
def test_option_matches_its_setting(path, parameter, key):
    guide = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    row = next(line for line in guide.splitlines() if line.startswith(f"| `{key.name}` |"))
    assert f"| `{key.flag.name}` |" in row
    assert parameter.opts == [key.flag.name]
    assert parameter.help == key.description
    assert key.description in row
    assert parameter.default == key.default
    assert key.kind is not bool or parameter.is_flag


def test_option_of_a_setting_is_shown_with_its_default():
    text = " ".join(in_process.sca("build-duplex", "--help").stdout.split())
    assert "--lead N Number of chunks that a token is placed before the audio of its word. [default: 1]" in text
    assert "--on-lag keep|drop-unit" in text
    assert "extra live)" in text


def test_help_on_a_terminal_keeps_brackets():
    done = CliRunner().invoke(app, ["convert", "--help"], terminal_width=200)
    assert "[laughter]" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["build-duplex", ".", "-o", "x", "--lead", "-1"],
            2,
            "--lead should be a whole",
        ),
        (["build-duplex", ".", "-o", "x", "--lead", "one"], 2, "Invalid value for '--lead'"),
        (
            ["build-duplex", ".", "-o", "x", "--on-lag", "drop"],
            2,
            "--on-lag should be one of keep, drop-unit",
        ),
        (
            ["build-duplex", ".", "-o", "x", "--validation", "nan"],
            2,
            "--validation should be a number",
        ),
        (["serve", "--port", "70000"], 2, "--port should be a whole number from 0 to 65535"),
        (["serve", "--drain", "1e308"], 2, "--drain should be a number from 0 to 86400"),
        (["turn", "serve", "--pool", "0"], 2, "--pool should be a whole number from 1 to 1024"),
        (["turn", "watch", "--mic", "--every", "1e308"], 2, "Invalid value for '--every'"),
        (["turn", "watch", "--mic", "--every", "nan"], 2, "Invalid value for '--every': NaN is not a duration"),
        (["turn", "stop", "--grace-s", "inf"], 2, "Invalid value for '--grace-s'"),
        (["turn", "bench", "--requests", "9" * 30], 2, "Invalid value for '--requests'"),
    ],
)
def test_invalid_option_is_named(arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = in_process.sca(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_option_wins_over_set_and_set_over_preset():
    shown = []

    @settings_options("duplex.lead_chunks", preset=True)
    def command(*, settings):
        shown.append((settings.duplex.lead_chunks, settings.duplex.text_tokens_per_chunk))

    made = typer.Typer(cls=Boundary, rich_markup_mode=None)
    made.command("command", cls=SettingsCommand)(command)
    made.command("other")(lambda: None)
    arguments = ["--set", "duplex.lead_chunks=2", "--preset", "8x4", "--set", "duplex.text_tokens_per_chunk=3"]
    assert CliRunner().invoke(made, ["command", *arguments, "--lead", "1"]).exit_code == 0
    assert CliRunner().invoke(made, ["command", *arguments]).exit_code == 0
    assert shown == [(1, 3), (2, 3)], "an option that is given counts even if it is the default"


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
def test_error_becomes_a_line_a_hint_and_an_exit_code(kind):
    done = CliRunner().invoke(throwaway(kind("this went wrong", hint="do that")), ["fail"])
    assert (done.exit_code, done.stderr) == (kind.exit_code, "sca: this went wrong\n     do that\n")
    assert done.stdout == ""


def test_report_prints_and_returns_the_code(capsys):
    assert report(errors.UpstreamError("the hub does not answer")) == 6
    assert capsys.readouterr() == ("", "sca: the hub does not answer\n")


def test_unwraps_errors_of_a_task_group():
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [errors.InputError("one")]), errors.UpstreamError("two")])
    done = CliRunner().invoke(throwaway(group), ["fail"])
    assert (done.exit_code, done.stderr) == (5, "sca: one\nsca: two\n")


def test_bug_among_errors_is_raised():
    done = CliRunner().invoke(
        throwaway(ExceptionGroup("tasks", [errors.InputError("one"), ZeroDivisionError()])), ["fail"]
    )
    assert isinstance(done.exception, ExceptionGroup)


@pytest.mark.parametrize("leave", [typer.Exit(7), typer.Exit(0)])
def test_command_may_exit_by_itself(leave):
    assert CliRunner().invoke(throwaway(leave), ["fail"]).exit_code == leave.exit_code


def test_interrupt_in_process():
    done = CliRunner().invoke(throwaway(KeyboardInterrupt()), ["fail"])
    assert done.exit_code == 130
    assert "interrupted" in done.stderr


def test_reports_a_bug():
    done = python("from sca.cli.main import app, run\n@app.command()\ndef bug():\n    1 / 0\nrun()", "bug")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("sca: this is a bug in sca; please report it with the lines above\n")


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["config", "show", "--nonsense"], ["config", "show", "x"]]
)
def test_usage_errors_exit_with_2(arguments):
    done = (sca_command if arguments == ["nonsense"] else in_process.sca)(*arguments)  # one in a process of its own
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: sca" in done.stderr


# --- signals and pipes ---

# A process that nohup started ignores SIGHUP, and so do its children.
COMMAND = (
    "import signal, time\nfrom sca.cli.main import app, run\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    "@app.command()\ndef work():\n    {}\nrun()"
)
WAIT = COMMAND.format(
    "try:\n        print('ready', flush=True)\n        time.sleep(50)\n    finally:\n        print('completed', flush=True)"
)
TALK = COMMAND.format("for n in range(LINES):\n        print(n)")


@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", -signal.SIGTERM), ("SIGHUP", -signal.SIGHUP)])
def test_interrupted_command_completes_its_files(sent, code):
    with subprocess.Popen([sys.executable, "-c", WAIT, "work"], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, sent))
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == code, "a service manager sees the signal that it sent"
    assert stdout == "completed\n"
    assert stderr == "sca: interrupted; finished results are kept, and the same command continues from there\n"


@pytest.mark.parametrize("lines", [3, 100_000])
def test_closed_pipe_is_not_an_error(lines):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = [sys.executable, "-c", TALK.replace("LINES", str(lines)), "work"]
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
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
        (["--config", "missing.toml"], 3, "missing.toml does not exist"),
        (["--preset", "8"], 2, "AUDIOxTEXT"),
        (["--set", "audio.frames_per_chunk=13"], 3, "gives 14 encoder tokens"),
    ],
)
def test_config_show_rejects(arguments, code, words):
    done = CliRunner().invoke(app, ["config", "show", *arguments])
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr


def test_config_default_can_be_read_back(tmp_path):
    path = tmp_path / "sca.toml"
    path.write_text(CliRunner().invoke(app, ["config", "default"]).stdout, encoding="utf-8")
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "--json", "--config", str(path)]).stdout)
    plain = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert shown.pop("schema") == plain.pop("schema") == "sca.config.show/1"
    assert {name: one["value"] for name, one in shown.items()} == {name: one["value"] for name, one in plain.items()}
