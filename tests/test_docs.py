"""The documentation is valid: its commands and options exist, its examples run, its links lead to a file or heading."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import typer.main

from sca.cli.main import app
from sca.config import known_keys
from tests.helpers import corpus, markdown
from tests.helpers.markdown import PAGES, ROOT

# Why the examples of a page are parsed but not run. Single blocks that cannot run have another language than `bash`.
BASH_NOT_RUN = {
    "CONTRIBUTING.md": "sets up the repository and runs its checks",
    "README.md": "tests/test_readme.py runs them",
    "acquire.md": "searches and downloads from a site",
    "corpora.md": "reads a corpus of the reader's own",
    "live.md": "reads recordings of the reader's own",
    "serve.md": "starts a server",
    "serve-clients.md": "takes a minute; a test runs the same conversations",
    "turn-clients.md": "needs a turn server and a recording",
}
PYTHON_NOT_RUN = {
    "README.md": "tests/test_readme.py runs it",
    "api.md": "its blocks are signatures, and examples that are tested beside their functions",
    "serve.md": "needs a running server",
    "serve-clients.md": "needs a running server, and LiveKit",
    "turn-clients.md": "needs a running server",
}
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_.|-]*…?|….*|.*[A-Z]{3,}.*")
COMMAND = typer.main.get_command(app)


def page_name(page):
    return str(page.relative_to(ROOT))


def problems(words, *, partial=False):
    """What is wrong with a `sca` command, as messages; placeholders in capitals are valid values.

    partial: the command may end in an option without its value, as prose quotes it.
    """
    command, rest = COMMAND, words[1:]
    while hasattr(command, "commands"):
        if not rest or rest[0].startswith("-") or PLACEHOLDER.fullmatch(rest[0]) or rest[0] == "…":
            return []
        if rest[0] not in command.commands:
            return [f"{' '.join(words)}: no command {rest[0]}"]
        command, rest = command.commands[rest[0]], rest[1:]
    if {"--help", "-h"} & set(rest):
        return []
    context = command.context_class(command, info_name=command.name)
    try:
        options, extra, _ = command.make_parser(context).parse_args([word for word in rest if word not in ("…", "...")])
    except Exception as error:  # Typer has its own copy of click
        message = str(getattr(error, "message", error))
        if partial and "requires an argument" in message:
            return problems([*words, "VALUE"])
        return [f"{' '.join(words)}: {message}"]
    found = [f"{' '.join(words)}: too many arguments: {extra}"] if extra else []
    for param in command.params:
        values = options.get(param.name)
        for value in values if isinstance(values, list | tuple) else [values]:
            choices = getattr(param.type, "choices", None)
            if choices and isinstance(value, str) and value not in choices and not PLACEHOLDER.fullmatch(value):
                found.append(f"{' '.join(words)}: {value} is not one of {choices}")
            if param.name == "set_values" and isinstance(value, str) and not PLACEHOLDER.fullmatch(value):
                found += setting_problems(value)
    return found


def setting_problems(assignment):
    name = assignment.partition("=")[0]
    return [] if name in {key.name for key in known_keys()} else [f"--set {assignment}: {name} is not a setting"]


def script_problems(words):
    """What is wrong with a command that runs a script of the repository."""
    words = [word for word in words if word != "uv"]
    if words[:2] == ["python", "-m"]:
        path = ROOT / (words[2].replace(".", "/") + ".py")
        if not path.exists():
            path = ROOT / words[2].replace(".", "/") / "__main__.py"
    else:
        path = ROOT / (words[1] if words[0] in ("python", "bash") else words[0])
    if not path.is_file():
        return [f"{' '.join(words)}: {path.relative_to(ROOT)} does not exist"]
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    source = path.read_text(encoding="utf-8")
    known = path.suffix == ".py" and "add_argument(" in source
    return [f"{' '.join(words)}: no option {option}" for option in options if known and f'"{option}"' not in source]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_and_options_exist(page):
    found = [problem for words in markdown.inline_commands(page) for problem in problems(words, partial=True)]
    for block in markdown.blocks(page, *markdown.SHELL_LANGUAGES):
        for words in markdown.commands(block):
            if words[0] == "sca":
                found += problems(words)
            elif words[0] in ("python", "bash") or "scripts/" in words[0]:
                found += script_problems(words)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "api.md"], ids=page_name)
def test_python_examples_compile(page):
    for block in markdown.blocks(page, "python"):
        compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the examples read: a corpus, its data set, recordings with timelines, and `sca` on the PATH."""
    root = tmp_path_factory.mktemp("docs")
    source = corpus.demo(root / "my_corpus")
    shim = root / "bin" / "sca"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sca "$@"\n')
    shim.chmod(0o755)
    run(root, "sca build-duplex my_corpus --output my_data --quiet")
    samples, rate = soundfile.read(source / "WAV" / "D0001_S0001_0_G0001.flac")
    (root / "dataset" / "audio_outputs").mkdir(parents=True)
    soundfile.write(root / "dataset" / "audio_outputs" / "show.flac", samples, rate)
    timeline = [{"start": t, "end": t + 6.0, "role": "comedian", "content": f"Part {t}."} for t in (5.0, 15.0, 25.0)]
    line = json.dumps({"video_id": "show", "timeline": timeline})
    (root / "dataset" / "inference_outputs.jsonl").write_text(line + "\n")
    run(root, "sca convert --input-file dataset/inference_outputs.jsonl --output-dir dataset/converted --quiet")
    return root


def run(root, script, interpreter=("bash", "-euo", "pipefail", "-c")):
    path = f"{root / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*interpreter, script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def pages_with(language, not_run):
    return [page for page in PAGES if page.name not in not_run and markdown.blocks(page, language)]


@pytest.mark.parametrize("page", pages_with("bash", BASH_NOT_RUN), ids=page_name)
def test_shell_examples_run(folder, page):
    for block in markdown.blocks(page, "bash"):
        run(folder, block.text)


@pytest.mark.parametrize("page", pages_with("python", PYTHON_NOT_RUN), ids=page_name)
def test_python_examples_run(folder, page):
    for block in markdown.blocks(page, "python"):
        run(folder, block.text, (sys.executable, "-c"))


def test_pages_that_are_not_run_exist():
    names = {page.name for page in PAGES}
    assert set(BASH_NOT_RUN) | set(PYTHON_NOT_RUN) <= names


def slug(heading):
    """The anchor that GitHub makes of a heading."""
    text = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading.lower())
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_a_file_and_a_heading(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page.name}: {target}"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md" and page.name not in index]
    assert not missing


def exists(dotted):
    """Whether a dotted name is a module, a name in one, or the value of a setting's section."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ImportError:
            continue
        for name in parts[n:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_named_modules_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    groups = {"sca.engines", "sca.corpora", "sca.exporters", "sca.recognizers", "sca.speech"}
    names = set(re.findall(r"`(sca(?:\.\w+)+)(?:\([^`]*)?`", text)) - groups
    missing = [
        name
        for name in sorted(names)
        if not name.startswith(("sca.key", "sca.resume", "sca.warning")) and not exists(name)
    ]
    paths = set(re.findall(r"`((?:sca|tests|scripts|config|docs)/[\w/.-]+)`", text))
    missing += [path for path in sorted(paths) if "NAME" not in path and not (ROOT / path).exists()]
    assert not missing


# The checks themselves, on commands that are wrong.


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("sca verfy my_data", "no command verfy"),
        ("sca verify my_data --no-such-option", "--no-such-option"),
        ("sca verify one two three", "too many arguments"),
        ("sca build-duplex my_corpus -o x --mode nonsense", "not one of"),
        ("sca config show --set duplex.no_such=1", "duplex.no_such"),
    ],
)
def test_finds_wrong_commands(command, problem):
    (found,) = problems(command.split())
    assert problem in found


@pytest.mark.parametrize(
    "command",
    [
        "sca build-duplex INPUT -o my_data --format NAME",
        "sca COMMAND --help",
        "sca turn …",
        "sca verify --set NAME=VALUE",
    ],
)
def test_accepts_placeholders(command):
    assert problems(command.split()) == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("python scripts/no_such.py", "does not exist"),
        ("python -m scripts.bench.mel --no-such 1", "no option --no-such"),
        ("bash scripts/no_such", "does not exist"),
    ],
)
def test_finds_wrong_scripts(command, problem):
    (found,) = script_problems(command.split())
    assert problem in found


def test_splits_lines_of_shell():
    line = 'A=1 sca search "two words" | sca download - > log && sca download <(sca search x)'
    block = markdown.Block(ROOT / "README.md", 1, "bash", line + "\n")
    assert markdown.commands(block) == [
        ["sca", "search", "x"],
        ["sca", "search", "two words"],
        ["sca", "download", "-"],
        ["sca", "download", "SUBSTITUTION"],
    ]
