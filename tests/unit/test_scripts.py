"""Scripts and benches refer to modules and names that exist, and describe themselves."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))


def script_name(path):
    return str(path.relative_to(ROOT / "scripts"))


def imports(tree, package):
    """(module, name) of every `from package... import name`, also inside functions and in strings of Python source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and f"\nfrom {package}." in node.value:
            yield from imports(ast.parse(node.value), package)


def defined_names(path):
    """The names that a module assigns, defines or imports at its top level."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


@pytest.mark.parametrize("path", SCRIPTS, ids=script_name)
def test_names_imported_from_sca_exist(path):
    for module, name in imports(ast.parse(path.read_text(encoding="utf-8")), "sca"):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")


@pytest.mark.parametrize("package", ["scripts", "tests"])
def test_names_imported_from_other_scripts_exist(package):
    for path in SCRIPTS:
        for module, name in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
            if source.exists():
                assert name in set(defined_names(source)), f"{path.name}: {module}.{name}"
            else:
                assert ROOT.joinpath(*module.split("."), f"{name}.py").exists(), f"{path.name}: {module}.{name}"


@pytest.mark.parametrize("path", SCRIPTS, ids=script_name)
def test_scripts_have_a_docstring(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    assert text.splitlines()[0].endswith(".")
