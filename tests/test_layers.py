"""The structure of the package, read from its source.

    errors, units → config, schemas, tokenizer, audio → data | infer → infer.server → cli

Layers, module cycles and package cycles count every import: those inside functions and under TYPE_CHECKING too. A
module that must not depend on a layer must not depend on its types either.
"""

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The longest matching entry applies, so that infer.server can be above infer.
LAYERS = {
    "sca.children": 0,
    "sca.cores": 0,
    "sca.errors": 0,
    "sca.files": 0,
    "sca.hub_errors": 0,
    "sca.onnx_session": 0,
    "sca.spans": 0,
    "sca.textutil": 0,
    "sca.units": 0,
    "sca.urls": 0,
    "sca.distribution": 0,
    "sca.audio": 1,
    "sca.config": 1,
    "sca.control_tokens": 1,
    "sca.display": 1,
    "sca.models": 1,
    "sca.plugins": 1,
    "sca.resources": 1,
    "sca.schemas": 1,
    "sca.timeline": 1,
    "sca.tokenizer": 1,
    "sca.word_times": 1,
    "sca.data": 2,
    "sca.infer": 2,
    "sca.infer.server": 3,
    "sca.infer.turn.serving": 3,
    "sca.synth": 3,  # above both halves: speech engines make what the data half reads
    "sca.simulate": 3,  # a synthetic user of the live loop
    "sca.watch": 3,  # commentary on video, on the server of the live half
    "sca.browse": 3,  # rows of the data half, on the server of the live half
    "sca.recipes": 3,  # pipelines of commands, which it gets from sca.cli
    "sca.train": 3,  # above both halves: rows of one, the live loop of the other
    "sca.calibrate": 3,  # above both halves, with sca.synth
    "sca.api": 3,
    "sca": 4,  # the public API: names of every layer below, loaded on first use
    "sca.cli": 5,
    "sca.__main__": 5,
}
INDEPENDENT = ("sca.data", "sca.infer")
"""Packages that do not import each other."""

MAX_MODULES = 15
"""Modules in one folder."""

ENVIRONMENT_READERS = {
    "sca.audio.decoder.process": "hands the language and the library paths on to decoder processes, and nothing secret",
    "sca.cli.shared.bash_completion": "reads the words that a completion script of bash hands over",
    "sca.config.settings": "the one reader of settings",
    "sca.distribution": "finds out whether `uv run` started the program, which printed commands then begin with",
    "sca.tokenizer.base": "finds the cache folder (XDG_CACHE_HOME is not one of our settings) for callers without settings",
    "sca.models.processes": "adds a temporary folder to the environment of pip, uv and npm",
    "sca.urls.shown": "hands the URLs of paths of the cache on to the commands that a recipe runs",
    "sca.data.runs.worker_pool": "chooses the GPU that CUDA sees in a worker process",
    "sca.data.runs.cluster.ray_start": "Ray reads its switches from the environment only, before it is imported",
}


@dataclass(frozen=True)
class Import:
    """One import of one of our modules by another."""

    importer: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def read_sources() -> dict[str, str]:
    sources = {}
    for path in sorted((ROOT / "sca").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return sources


@cache
def imports_of(module: str, source: str, modules: frozenset[str]) -> list[Import]:
    return [
        Import(module, target, node.lineno)
        for node in ast.walk(ast.parse(source))
        for target in _targets(module, node, modules)
        if target.split(".")[0] == "sca"
    ]


def _targets(module: str, node: ast.AST, modules: frozenset[str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=None) | ast.ImportFrom(level=1 | 2 | 3):
            raise AssertionError(f"{module}:{node.lineno}: a relative import")
        case ast.ImportFrom(module=base, names=names):  # `from sca.data import load`: a module, or a name in one?
            full = [f"{base}.{alias.name}" for alias in names]
            return [name if name in modules else base for name in full]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(target)), *_]):
            return [target] if name in ("import_module", "__import__") else []
    return []


def all_imports(sources: dict[str, str]) -> list[Import]:
    modules = frozenset(sources)
    return [found for module, source in sources.items() for found in imports_of(module, source, modules)]


def layer_of(module: str) -> str:
    """Return the entry of the layer table that applies to a module."""
    if module == "sca":
        return module
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 1, -1))
    return next((prefix for prefix in prefixes if prefix in LAYERS), module)


def broken_layers(sources: dict[str, str]) -> list[str]:
    unknown = [
        f"{module} has no layer: add one to tests/test_layers.py"
        for module in sources
        if layer_of(module) not in LAYERS
    ]
    if unknown:
        return unknown
    return [str(found) for found in all_imports(sources) if not _allowed(found)]


def _allowed(found: Import) -> bool:
    lower, upper = layer_of(found.target), layer_of(found.importer)
    sides = [
        {package for package in INDEPENDENT if f"{module}.".startswith(f"{package}.")}
        for module in (found.importer, found.target)
    ]
    return LAYERS.get(lower, 9) <= LAYERS[upper] and not (sides[0] and sides[1] and sides[0] != sides[1])


def package_of(module: str, modules: Iterable[str]) -> str:
    """Return the folder of a module.

    The modules directly in `sca/` are leaves, so each counts as a package of its own.
    """
    if module.count(".") <= 1 or any(other.startswith(f"{module}.") for other in modules):
        return module
    return module.rpartition(".")[0]


def module_cycle(sources: dict[str, str]) -> list[str]:
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for found in all_imports(sources):
        if found.target != found.importer:
            graph[found.importer].add(found.target)
    return _cycle(graph)


def package_cycle(sources: dict[str, str]) -> list[str]:
    package = {module: package_of(module, sources) for module in sources}
    graph: dict[str, set[str]] = {name: set() for name in package.values()}
    for found in all_imports(sources):
        importer, target = package[found.importer], package.get(found.target, found.target)
        if importer != target:
            graph[importer].add(target)
    return _cycle(graph)


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def environment_readers(sources: dict[str, str]) -> set[str]:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}

    def reads(node: ast.AST) -> bool:
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=attr):
                return attr in names
            case ast.ImportFrom(module="os", names=aliases):
                return any(alias.name in names for alias in aliases)
        return False

    return {module for module, source in sources.items() if any(map(reads, ast.walk(ast.parse(source))))}


def rounded_samples(sources: dict[str, str]) -> list[str]:
    """Return the calls of `round` with one argument that contains a sample or tick rate.

    `round` rounds halves to even, which shifts the grid; `sca.units.seconds_to_samples` rounds them up.
    """

    def is_rate(node: ast.AST) -> bool:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        return name.lower().endswith(("_hz", "rate", "sample_rate", "samplerate")) or name == "hz"

    found = []
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(func=ast.Name(id="round"), args=[argument]):
                    factors = [
                        part
                        for product in ast.walk(argument)
                        if isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult)
                        for part in (product.left, product.right)
                    ]
                    if any(map(is_rate, factors)):
                        found.append(f"{module}:{node.lineno}")
    return found


def crowded_folders(sources: dict[str, str]) -> dict[str, int]:
    """Return the folders with more than `MAX_MODULES` modules; an `__init__` that only documents its package is free."""
    counts = Counter(
        module.rpartition(".")[0] for module in sources if not any(other.startswith(f"{module}.") for other in sources)
    )
    return {folder: count for folder, count in counts.items() if count > MAX_MODULES}


def test_imports_run_one_way():
    assert broken_layers(read_sources()) == []


def test_no_module_cycles():
    assert module_cycle(read_sources()) == []


def test_no_package_cycles():
    assert package_cycle(read_sources()) == []


def test_only_settings_read_the_environment():
    assert environment_readers(read_sources()) <= set(ENVIRONMENT_READERS)


def test_samples_are_rounded_half_up():
    assert rounded_samples(read_sources()) == []


def test_folders_are_small():
    assert crowded_folders(read_sources()) == {}


# The checks themselves, on sources that break each rule.

VALID = {
    "sca": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sca.data.rows import x",
    "sca.errors": "",
    "sca.config": "from sca.errors import E\nimport os\nos.environ",
    "sca.data": "",
    "sca.data.rows": "from sca.config import x\nfrom sca.data import verify",
    "sca.data.verify": "def f():\n    from sca.errors import g",
    "sca.infer": "",
    "sca.infer.loop": "from sca import config",
    "sca.infer.server": "from sca.infer import loop",
    "sca.cli.main": "from sca.data.rows import g\nfrom sca.infer.server import app",
}


def test_valid_sources_pass():
    assert (broken_layers(VALID), module_cycle(VALID), package_cycle(VALID)) == ([], [], [])
    assert environment_readers(VALID) == {"sca.config"}


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("sca.data.rows", "import sca.infer.loop", "sca.infer.loop"),
        ("sca.data.rows", "from sca.infer import loop", "sca.infer.loop"),
        ("sca.infer.loop", "def f():\n    from sca.data.rows import g", "sca.data.rows"),
        ("sca.infer.server", "from sca.data import rows", "sca.data.rows"),
        ("sca.infer.loop", "from sca.infer.server import app", "sca.infer.server"),
        ("sca.infer.loop", "import importlib\nimportlib.import_module('sca.cli.main')", "sca.cli.main"),
        (
            "sca.errors",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sca.config import x",
            "sca.config",
        ),
        ("sca.config", "class A:\n    async def f(self):\n        import sca.data.rows", "sca.data.rows"),
        ("sca.config", "from sca import __version__", "sca"),
        ("sca", "from sca.cli.main import app", "sca.cli.main"),
        ("sca.cli.main", "import sca.newcomer", "sca.newcomer"),
    ],
)
def test_finds_an_import_of_a_higher_layer(module, source, target):
    (found,) = broken_layers(VALID | {module: source})
    assert found.startswith(f"{module}:")
    assert found.endswith(f"imports {target}")


def test_requires_a_layer_for_every_module():
    assert broken_layers(VALID | {"sca.newcomer": ""}) == ["sca.newcomer has no layer: add one to tests/test_layers.py"]


def test_rejects_relative_imports():
    with pytest.raises(AssertionError, match="relative"):
        broken_layers(VALID | {"sca.data.rows": "from .verify import x"})


@pytest.mark.parametrize(
    "source",
    [
        "from sca.data.rows import g",
        "class A:\n    from sca.data.rows import g",
        "def f():\n    from sca.data.rows import g",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sca.data.rows import g",
    ],
)
def test_finds_a_module_cycle(source):
    assert set(module_cycle(VALID | {"sca.data.verify": source})) == {"sca.data.rows", "sca.data.verify"}


def test_finds_a_package_cycle_without_a_module_cycle():
    sources = {
        "sca.data": "",
        "sca.data.a": "",
        "sca.data.a.one": "from sca.data.b import two",
        "sca.data.a.three": "",
        "sca.data.b": "",
        "sca.data.b.two": "def f():\n    from sca.data.a import three",
    }
    assert module_cycle(sources) == []
    assert set(package_cycle(sources)) == {"sca.data.a", "sca.data.b"}


@pytest.mark.parametrize(
    "source", ["import os\nos.getenv('X')", "from os import environ", "import os\ndel os.environ['X']"]
)
def test_finds_readers_of_the_environment(source):
    assert environment_readers(VALID | {"sca.data.rows": source}) == {"sca.config", "sca.data.rows"}


@pytest.mark.parametrize(
    "source", ["round(x * HEARD_HZ)", "round(view.start * rate_hz)", "max(1, round(s * self.info.rate_hz))"]
)
def test_finds_samples_rounded_half_to_even(source):
    assert rounded_samples({"sca.data.rows": source}) == ["sca.data.rows:1"]


def test_rounding_seconds_for_people_is_allowed():
    assert rounded_samples({"sca.data.rows": "round(n / HEARD_HZ, 3)\nround(n / rate_hz)"}) == []


def test_finds_a_crowded_folder():
    sources = {f"sca.data.module{n}": "" for n in range(MAX_MODULES + 1)}
    assert crowded_folders(sources | {"sca.data": ""}) == {"sca.data": MAX_MODULES + 1}
