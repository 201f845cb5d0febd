"""Where settings are read from: a TOML file, the environment, the command line. Each yields raw values and complaints.

Knows the names of the settings (`Key`) and nothing of their meaning. What a value must look like is decided where the
models are, in `sca.config`; how a complaint reads, in `sca.config.describe`.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["Given", "Key", "Problem", "from_environment", "from_file", "from_overrides", "unknown"]

_PREFIX = "SCA_"
_AT_LINE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. name: dotted, `section.field`.   env: its environment variable.   expected: in words."""

    name: str
    env: str
    default: Any
    description: str
    expected: str
    optional: bool

    @property
    def section(self) -> str:
        """The table of the TOML file it stands in."""
        return self.name.partition(".")[0]

    @property
    def field(self) -> str:
        """Its name inside the section."""
        return self.name.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave. is_text: it came as text (environment, `--set`) and is yet to become a number or path."""

    value: Any
    origin: str
    is_text: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """A complaint about one setting, and what to do about it. cause: the error that it is made of, if one is."""

    text: str
    hint: str | None = None
    cause: Exception | None = None


def unknown(origin: str, name: str, known: Iterable[str]) -> Problem:
    """The complaint about a name that is none, with the nearest one that is."""
    known = list(known)
    # `lead_chunks` for `duplex.lead_chunks`: the right name without its section is as near as it gets.
    near = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]]
    near = near or [full for full in known if "." in name and full.startswith(name)]
    # The cutoff: brackets alone make two short sections half alike.
    near = near[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.51)
    hint = f"did you mean {near[0]}?" if near else "`sca config show` lists every setting"
    return Problem(f"{origin}: {name} is not a setting", hint)


def from_file(path: Path, keys: Mapping[str, Key]) -> tuple[dict[str, Given], list[Problem]]:
    """The settings of a TOML file."""
    origin = f"file {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        return {}, [Problem(f"{origin}: there is no such file", "`sca config default` prints one to start from", error)]
    except OSError as error:
        return {}, [Problem(f"{origin}: cannot be read ({error.strerror})", None, error)]
    except UnicodeDecodeError as error:
        return {}, [Problem(f"{origin}: is not UTF-8 text", "TOML files are UTF-8", error)]
    except tomllib.TOMLDecodeError as error:
        return {}, [_syntax(path, error)]

    given: dict[str, Given] = {}
    problems: list[Problem] = []
    sections = {key.section for key in keys.values()}
    for section, table in document.items():
        if section not in sections:
            # Either a section misspelled, or a setting that stands above its section.
            tables = [f"[{name}]" for name in sorted(sections)]
            is_table = isinstance(table, dict)
            problems.append(unknown(origin, f"[{section}]" if is_table else section, tables if is_table else keys))
        elif not isinstance(table, dict):
            hint = f"write [{section}] above its settings"
            problems.append(Problem(f"{origin}: {section} is a section, not a setting", hint))
        else:
            for field, value in table.items():
                name = f"{section}.{field}"
                if name in keys:
                    given[name] = Given(value, origin, is_text=False)
                else:
                    problems.append(unknown(origin, name, keys))
    return given, problems


def _syntax(path: Path, error: tomllib.TOMLDecodeError) -> Problem:
    found = _AT_LINE.search(str(error))
    line = found["line"] if found and found["line"] else "end"
    return Problem(f"file {path}, line {line}: not valid TOML: {_AT_LINE.sub('', str(error))}", None, error)


def from_environment(
    env: Mapping[str, str], keys: Mapping[str, Key], reserved: Iterable[str]
) -> tuple[dict[str, Given], list[Problem]]:
    """The settings among the environment's variables. One that is empty counts as not set."""
    by_env = {key.env: key.name for key in keys.values()}
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for variable in sorted(env):
        if not variable.startswith(_PREFIX) or variable in reserved:
            continue
        if variable not in by_env:
            problems.append(unknown("environment", variable, [*by_env, *reserved]))
        elif env[variable]:
            given[by_env[variable]] = Given(env[variable], f"environment {variable}", is_text=True)
    return given, problems


def from_overrides(overrides: Mapping[str, object], keys: Mapping[str, Key]) -> tuple[dict[str, Given], list[Problem]]:
    """The settings given on the command line. None is an option the user left out."""
    origin = "command line"
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for name, value in overrides.items():
        plain = value.value if isinstance(value, Enum) else value
        if name not in keys:
            problems.append(unknown(origin, name, keys))
        elif plain is not None:
            given[name] = Given(plain, origin, is_text=isinstance(plain, str))
    return given, problems
