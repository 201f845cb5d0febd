"""The usage lines in the headers of scripts: those of the turn server run as written, all others are parsed as written."""

import ast
import json
import re
import shlex
import subprocess
import sys
from itertools import product

import pytest

from tests.helpers import reader
from tests.helpers.markdown import ROOT, Block
from tests.test_docs import problems

SHELL = {"scripts/setup.sh", "scripts/start.sh", "scripts/start_bg.sh", "scripts/stop.sh", "scripts/tail_bg_logs.sh"}
_USAGE = re.compile(r"^ +((?:uv run (?:--extra \w+ )?)?python .*|bash .*|\./.*|sca .*|[A-Z_]+=\S+ .*)$", re.MULTILINE)
_VALUES = {"LIST": "espeak:en-gb", "NAME": "name", "N": "2", "URL": "http://127.0.0.1:8000", "PID": "1", "ROUNDS": "2"}

PARSE = """
import argparse, json, os, runpy, sys

class Parsed(BaseException): pass

def parse_args(parser, *given, **named):
    original(parser, *given, **named)
    raise Parsed

original, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, parse_args
wrong = []
for words in json.load(sys.stdin):
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    try:
        (runpy.run_module if module else runpy.run_path)(sys.argv[0], run_name="__main__")
        wrong.append([words, "parsed no arguments"])
    except Parsed:
        pass
    except BaseException as error:
        wrong.append([words, repr(error)])
    del sys.path[0]
print(json.dumps(wrong))
"""


def usage(path):
    """The usage lines of a script: of its docstring, or of the comment at its start."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        header = ast.get_docstring(ast.parse(text)) or ""
    else:
        header = "".join(line[1:] for line in text.splitlines(keepends=True)[1:] if line.startswith("#"))
    return [re.split(r" {3,}", line)[0] for line in _USAGE.findall(header)]


def variants(line):
    """A usage line without its optional parts and with them, and each choice of `a|b`."""
    short, full = re.sub(r"\s*\[[^]]*\]", "", line), re.sub(r"[\[\]]| \.\.\.", "", line)
    for text in dict.fromkeys((short.replace(" ...", ""), full)):
        words = [word.split("|") for word in shlex.split(text)]
        yield from (list(choice) for choice in product(*words))


def scripts(suffix):
    return sorted([*(ROOT / "scripts").glob(f"*{suffix}"), *(ROOT / "scripts" / "bench").glob(f"*{suffix}")])


def test_python_scripts_accept_their_usage_lines():
    given, wrong = [], []
    for path in scripts(".py"):
        for words in (words for line in usage(path) for words in variants(line)):
            words = words[words.index("python") :] if words[0] == "uv" else words
            if words[0] == "sca":
                wrong += problems(words)
                continue
            name = words[1] if words[1] != "-m" else f"{words[2].replace('.', '/')}.py"
            if ROOT / name != path:
                wrong.append(f"{path.name}: {name} is another script")
            elif "argparse" in path.read_text(encoding="utf-8"):
                given.append([_VALUES.get(word, word) for word in words[1:]])
            elif len(words) > 2:
                wrong.append(f"{name} has no arguments")
    done = subprocess.run(
        [sys.executable, "-c", PARSE], cwd=ROOT, input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not wrong + json.loads(done.stdout.splitlines()[-1]), done.stderr
    assert len(given) > 50


def test_every_bench_has_a_usage_line():
    benches = [path for path in scripts(".py") if path.parent.name == "bench" and "__main__" in path.read_text("utf-8")]
    assert [path.name for path in benches if not usage(path)] == []


@pytest.fixture
def there(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    with reader.own_network() as network:
        home = {"HOME": str(tmp_path), "SCA_CACHE_DIR": str(tmp_path / "cache"), "SCA_TURN_POOL": "1"}
        one = reader.Reader(files, reader.make_programs(tmp_path), network, **home)
        yield one
        one.kill()


def test_scripts_of_the_turn_server_run_as_written(there):
    """Every line of their headers, in the order of a working day; the options of a line together."""
    lines = [line for path in sorted(SHELL) for line in usage(ROOT / path)]
    whole = {re.sub(r"[\[\]]", "", line) for line in lines}
    for line in (
        "bash scripts/setup.sh",
        "AUTH_KEY=secret bash scripts/start.sh --port 8000",
        "bash scripts/start_bg.sh --port 8000 --no-warmup --tail",
        "bash scripts/tail_bg_logs.sh --lines 100",
        "bash scripts/stop.sh --purge",
        "bash scripts/stop.sh --purge --deep",
    ):
        assert line in whole
        whole.discard(line)
        there.run(Block(ROOT / "scripts", 0, "bash", line))
    assert not whole, "lines that this test does not run"
