"""Stand-in of `pip install`, `uv sync` and `uv pip install`: checks extras and packages without a network.

    python -m tests.helpers.install_stand_in pip|uv ARGUMENTS

A name is valid if the project has the extra, or if the package is among its requirements or installed.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_WITH_VALUE = {"--extra", "--torch-backend", "--upgrade-package", "--python", "--group"}
_FLAGS = {"--inexact", "--reinstall", "--no-sync", "-e", "--editable", "--upgrade", "-U"}
_TORCH_BUILDS = {"auto", "cpu", "cu118", "cu126", "cu128", "cu130"}


def problems(tool: str, words: list[str], pyproject: Path) -> list[str]:
    """What is wrong with the arguments of an installer, as messages."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    subcommands = {
        "uv": (["sync"], ["pip", "install"], ["tool", "install"]),
        "pip": (["install"],),
        "pipx": (["install"],),
    }[tool]
    found = [command for command in subcommands if words[: len(command)] == command]
    if not found:
        return [f"{tool} {' '.join(words)}: not a command that the stand-in knows"]
    rest, wrong = iter(words[len(found[0]) :]), []
    for word in rest:
        if word in _WITH_VALUE:
            value = next(rest, "")
            if word == "--extra":
                wrong += [f"no extra {name}" for name in value.split(",") if name not in extras]
            elif word == "--torch-backend" and value not in _TORCH_BUILDS:
                wrong.append(f"no build {value}")
        elif word.startswith("-"):
            wrong += [] if word in _FLAGS else [f"unknown option {word}"]
        else:
            wrong += _package_problems(word, project["name"], extras)
    return wrong


def _package_problems(word: str, own: str, extras: dict[str, list[str]]) -> list[str]:
    name, names = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]*)\])?(?:[<>=].*)?", word).groups()
    if name == "sca":
        return ["on a package index, sca is another project"]
    if name in (own, "."):
        return [f"no extra {extra}" for extra in (names or "").split(",") if extra and extra not in extras]
    known = {re.split(r"[\[<>=;@ ]", one)[0] for requirements in extras.values() for one in requirements}
    if name in known or name in ("uv", "torchaudio"):
        return []
    try:
        distribution(name)
    except PackageNotFoundError:
        return [f"package {name} is not one of sca's"]
    return []


if __name__ == "__main__":
    wrong = problems(sys.argv[1], sys.argv[2:], Path(__file__).resolve().parents[2] / "pyproject.toml")
    sys.exit("\n".join(wrong) or None)
