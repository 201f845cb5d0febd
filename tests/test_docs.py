"""The documentation is valid: its commands and options exist, its examples run, its links lead to a file or heading.

Every block marked `bash`, `console` or `python` runs as written, in the order of the page, in one folder with the files
that pages name (`tests.helpers.reader`). How to write a block:

* A block that cannot run has a comment on the line before it, with one of the reasons of `tests.helpers.markdown.NOT_RUN`:

      <!-- not run: microphone -->

  Its commands and options are checked all the same. Divide a block if only some of its lines cannot run.
* A block of language `text` has no commands, unless it is a message that begins with `sca: `. Commands are in `bash`,
  explanations are `# comments`, and placeholders are names of files that exist. A page of a server (`sca serve`,
  `sca turn serve`) starts it in a block; it runs until another one is started or the page ends, on the port of the page.
* `console`: `$ ` before a command, and its output. Numbers may differ, `…` is any text, and more lines may be printed
  (`tests.helpers.reader.shows`). A command whose output begins with `sca: ` must fail.
* Models that a page gets with `sca models get` are those that `scripts/test --prepare` fetched.
"""

import ast
import importlib
import os
import re
import shutil
import signal
import subprocess

import psutil
import pytest
import typer.main

from sca.cli.main import app
from sca.config import known_keys
from tests.helpers import forks, markdown, reader
from tests.helpers.markdown import PAGES, ROOT
from tests.helpers.timeouts import TIMEOUT_S

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


RUN = ("bash", "console", "python")


def runs(page):
    """The blocks of a page that are run. Those of api.md are signatures, and examples that are tested beside their functions."""
    return [] if page.name == "api.md" else [block for block in markdown.blocks(page, *RUN) if block.not_run is None]


def models_of(page):
    """The models that the blocks of a page get by name."""
    commands = [words for block in runs(page) if block.language != "python" for words in markdown.commands(block)]
    return [name for words in commands if words[:3] == ["sca", "models", "get"] for name in words[3:]]


@pytest.fixture(scope="module")
def network():
    with reader.own_network() as words:
        yield words


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def python(root, network):
    """An interpreter whose processes fork from one that has imported the libraries, or that of an installed wheel."""
    if reader.WHEEL:
        yield reader.WHEEL
        return
    with forks.listening(root / "forks", network, HOME=str(root), HF_HUB_CACHE=str(root / "hub")):
        yield forks.program(root / "python", root / "forks")


@pytest.fixture(scope="module")
def files(root, python, network):
    """The files of the reader, with a data set and a converted show; beside them are its programs."""
    made = reader.make_files(root)
    first = reader.Reader(made, reader.make_programs(root, python), network)
    for text in (
        "sca build-duplex my_corpus --output my_data --quiet",
        "sca convert --input-file dataset/inference_outputs.jsonl --output-dir dataset/converted --quiet",
    ):
        first.run(markdown.Block(ROOT / "tests", 0, "bash", text))
    return made


@pytest.fixture
def at_page(files, python, network, tmp_path, weights):
    """Return a function that makes the reader of a page, in a copy of the files."""
    opened = []

    def open_page(page):
        cache = tmp_path / "cache"
        cache.mkdir()
        names = models_of(page)
        for name in names:
            weights(name)
        if names:
            (cache / "models").symlink_to(weights(names[0]).parent)
        folder = shutil.copytree(files, tmp_path / "files", symlinks=True)
        if page.name == "runs.md":
            reader.make_earlier_runs(folder / "dataset")
        home = {"HOME": str(tmp_path), "SCA_CACHE_DIR": str(cache), "HF_HUB_CACHE": str(files.parent / "hub")}
        opened.append(reader.Reader(folder, files.parent / "bin", network, python, **home))
        return opened[-1]

    yield open_page
    for one in opened:
        one.kill()


def marked(page):
    return pytest.param(page, id=page_name(page), marks=[pytest.mark.weights] if models_of(page) else [])


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if runs(page)])
def test_examples_run_as_written(at_page, page):
    there = at_page(page)
    for _ in range(int(os.environ.get("DOCS_TIMES", "1"))):
        for block in runs(page):
            there.run(block)
    there.close()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_blocks_are_run_or_have_a_reason(page):
    every = markdown.blocks(page)
    assert {block.not_run for block in every} - {None} <= set(markdown.NOT_RUN)
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall("^<!-- not run:", prose, re.MULTILINE)) == sum(
        block.not_run is not None for block in every
    ), "a mark without its block"
    texts = [block for block in markdown.blocks(page, "text", "", "sh") if not block.text.startswith("sca: ")]
    hidden = [str(block) for block in texts if markdown.commands(block)]
    assert not hidden, "commands are marked bash or console"


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
    groups = {"sca.engines", "sca.corpora", "sca.exporters", "sca.recognizers", "sca.speech", "sca.watch_engines"}
    names = set(re.findall(r"`(sca(?:\.\w+)+)(?:\([^`]*)?`", text)) - groups
    missing = [
        name
        for name in sorted(names)
        if not name.startswith(("sca.key", "sca.resume", "sca.toml", "sca.warning")) and not exists(name)
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


def test_output_of_a_page_may_differ_in_numbers_only():
    printed = "sca: busy\nlistening on http://127.0.0.1:8123 (cpu, 4 at a time)\ndone in 1.25 s\n"
    assert reader.shows(printed, "listening on http://127.0.0.1:8000 (cpu, 2 at a time)\n")
    assert reader.shows(printed, "listening on … (cpu, …)\n")
    assert reader.shows(printed, "sca: busy\n\ndone in 3 s\n")
    assert not reader.shows(printed, "done in 3 ms\n")
    assert not reader.shows(printed, "done in 3 s\nsca: busy\n")


def test_blocks_with_prompts_have_commands_and_outputs():
    assert reader.console_parts("$ a \\\n  b\nout\nmore\n$ c\n") == [("a    b\n", "out\nmore\n"), ("c\n", "")]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (("bash", "false\n"), "exit code 1"),
        (("bash", "true | false | true\n"), "exit code 1"),
        (("console", "$ echo one\ntwo\n"), "should print"),
        (("console", "$ echo 'sca: wrong'\nsca: wrong\n"), "exit code 0"),
        (("python", "assert 1 == 2\n"), "AssertionError"),
        (("bash", "pip install 'sca-duplex[no-such]'\n"), "no extra no-such"),
        (("bash", "uv sync --extra live,nothing\n"), "no extra nothing"),
    ],
)
def test_finds_blocks_that_fail(tmp_path, block, message):
    there = reader.Reader(tmp_path, reader.make_programs(tmp_path / "at"), [], SCA_CACHE_DIR=str(tmp_path / "cache"))
    with pytest.raises(AssertionError, match=message):
        there.run(markdown.Block(ROOT / "README.md", 1, *block))


def test_forked_programs_behave_as_processes(python, tmp_path):
    """Arguments, input, folder, environment, exit code, signals, and the end of the caller."""
    code = (
        "import os, sys; print(sys.argv[1:], input(), os.getcwd(), os.environ['A'], 'sca' in sys.modules); sys.exit(3)"
    )
    words, env = [python, "-c", code, "x y"], os.environ | {"A": "b"}
    done = subprocess.run(words, input="typed\n", capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (3, f"['x y'] typed {tmp_path} b False\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        program = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
        with subprocess.Popen([python, "-c", program], stdout=-1, stderr=-1, text=True, start_new_session=True) as run:
            forked = psutil.Process(int(run.stdout.readline()))
            os.killpg(run.pid, number)
            assert run.wait() == -number
            forked.wait(TIMEOUT_S)


def test_marks_belong_to_the_next_block(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: gpu -->\n```bash\na\n```\n\n```bash\nb\n```\n")
    assert [block.not_run for block in markdown.blocks(page)] == ["gpu", None]


def test_ports_are_locked_without_network_namespaces(monkeypatch):
    monkeypatch.setattr(reader.shutil, "which", lambda _: None)
    with reader.own_network() as words:
        assert words == []
