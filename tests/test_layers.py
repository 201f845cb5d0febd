"""Who may import whom, read from the source: rule 1 of the house, no cycles, one reader of the environment.

    errors, units → config, schemas, tokenizer, audio → data | infer → infer.server → cli

Imports inside functions and under TYPE_CHECKING count: who must not know a layer must not know its types either.
Cycles are looked for among the imports that run when a module is loaded.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Longest match wins, so that infer.server may stand above infer.
LAYERS = {
    "sca": 1,  # the package itself: the version, and names of the core that are loaded on demand
    "sca.errors": 0,
    "sca.units": 0,
    "sca.textutil": 0,
    "sca.onnx_session": 0,
    "sca.plugins": 1,
    "sca.config": 1,
    "sca.control_tokens": 1,
    "sca.timeline": 1,
    "sca.schemas": 1,
    "sca.tokenizer": 1,
    "sca.audio": 1,
    "sca.resources": 1,
    "sca.data": 2,
    "sca.infer": 2,
    "sca.infer.server": 3,
    "sca.infer.turn.serving": 3,
    "sca.cli": 4,
    "sca.__main__": 4,
}
STRANGERS = ("sca.data", "sca.infer")

MAY_TOUCH_ENVIRONMENT = {
    "sca.config.settings": "the one reader of settings",
    "sca.tokenizer.base": "finds the cache folder (XDG_CACHE_HOME, no setting of ours) for those who use it without settings",
    "sca.data.runs.ray": "Ray takes its switches from the environment only, and they must be set before it is imported",
}


@dataclass(frozen=True)
class Import:
    """`importer` imports `target`; at_load: when it is loaded itself, not later in a function or never (types only)."""

    importer: str
    target: str
    line: int
    at_load: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def read_sources() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "sca").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(module: str, source: str, modules: set[str]) -> Iterator[Import]:
    def visit(node: ast.AST, at_load: bool) -> Iterator[Import]:
        for target in targets(node):
            if target.split(".")[0] == "sca":
                yield Import(module, target, node.lineno, at_load)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or types_only(node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_load and not later)

    def targets(node: ast.AST) -> list[str]:
        match node:
            case ast.Import(names=names):
                return [alias.name for alias in names]
            case ast.ImportFrom(module=None) | ast.ImportFrom(level=1 | 2 | 3):
                raise AssertionError(f"{module}:{node.lineno}: a relative import")
            case ast.ImportFrom(module=base, names=names):  # `from sca.data import load`: a module, or a name in one?
                full = [f"{base}.{alias.name}" for alias in names]
                return [name if name in modules else base for name in full]
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(target)), *_]
            ):
                return [target] if name in ("import_module", "__import__") else []
        return []

    return visit(ast.parse(source), at_load=True)


def types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def home(module: str) -> str:
    """The entry of the layer table that a module falls under."""
    parts = module.split(".")
    heads = (".".join(parts[:n]) for n in range(len(parts), 1, -1))
    return next((head for head in heads if head in LAYERS), module)


def all_imports(sources: dict[str, str]) -> list[Import]:
    return [one for module, source in sources.items() for one in imports(module, source, set(sources))]


def broken_layers(sources: dict[str, str]) -> list[str]:
    homeless = [
        f"{module} has no layer: give it one in tests/test_layers.py"
        for module in sources
        if home(module) not in LAYERS
    ]
    if homeless:
        return homeless
    wrong = []
    for one in all_imports(sources):
        lower, upper = home(one.target), home(one.importer)
        if lower == "sca" or upper == "sca":
            # Everyone may ask the package for its version; it may name the core.
            allowed = LAYERS.get(lower, 9) <= 1
        else:
            strangers = {head for head in STRANGERS if f"{one.importer}.".startswith(f"{head}.")}
            met = {head for head in STRANGERS if f"{one.target}.".startswith(f"{head}.")}
            allowed = LAYERS.get(lower, 9) <= LAYERS[upper] and not (strangers and met and strangers != met)
        if not allowed:
            wrong.append(str(one))
    return wrong


def cycle(sources: dict[str, str]) -> list[str]:
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for one in all_imports(sources):
        if one.at_load and one.target != one.importer:
            graph[one.importer].add(one.target)
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


def test_imports_run_one_way():
    assert broken_layers(read_sources()) == []


def test_no_module_needs_itself_to_load():
    assert cycle(read_sources()) == []


def test_only_the_settings_read_the_environment():
    assert environment_readers(read_sources()) <= set(MAY_TOUCH_ENVIRONMENT)


# The checker on sources made up to break each rule.

SOUND = {
    "sca": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sca.config import x",
    "sca.errors": "",
    "sca.config": "from sca.errors import E\nimport os\nos.environ",
    "sca.data": "",
    "sca.data.rows": "from sca import __version__\nfrom sca.config import x\nfrom sca.data import verify",
    "sca.data.verify": "def f():\n    from sca.data.rows import g",
    "sca.infer": "",
    "sca.infer.loop": "from sca import config",
    "sca.infer.server": "from sca.infer import loop",
    "sca.cli.main": "from sca.data.rows import g\nfrom sca.infer.server import app",
}


def test_the_checker_accepts_what_is_sound():
    assert (broken_layers(SOUND), cycle(SOUND), environment_readers(SOUND)) == ([], [], {"sca.config"})


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
        ("sca", "from sca.cli.main import app", "sca.cli.main"),
        ("sca.cli.main", "import sca.newcomer", "sca.newcomer"),
    ],
)
def test_the_checker_finds_a_step_up(module, source, target):
    (found,) = broken_layers(SOUND | {module: source})
    assert found.startswith(f"{module}:")
    assert found.endswith(f"imports {target}")


def test_the_checker_wants_a_layer_for_every_module():
    assert broken_layers(SOUND | {"sca.newcomer": ""}) == [
        "sca.newcomer has no layer: give it one in tests/test_layers.py"
    ]


def test_the_checker_refuses_relative_imports():
    with pytest.raises(AssertionError, match="relative"):
        broken_layers(SOUND | {"sca.data.rows": "from .verify import x"})


def test_the_checker_finds_a_cycle_and_lets_late_imports_be():
    assert set(cycle(SOUND | {"sca.data.verify": "from sca.data.rows import g"})) == {
        "sca.data.rows",
        "sca.data.verify",
    }
    in_a_class = "class A:\n    from sca.data.rows import g"
    assert cycle(SOUND | {"sca.data.verify": in_a_class})


@pytest.mark.parametrize(
    "source", ["import os\nos.getenv('X')", "from os import environ", "import os\ndel os.environ['X']"]
)
def test_the_checker_finds_readers_of_the_environment(source):
    assert environment_readers(SOUND | {"sca.data.rows": source}) == {"sca.config", "sca.data.rows"}
