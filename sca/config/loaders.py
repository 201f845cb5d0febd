"""Sources of settings: a TOML file, the environment and the command line. Each returns raw values and problems.

This module knows the names of the settings (`Key`), not their meaning. `sca.config.settings` checks the values with the
models; `sca.config.describe` words the problems.
"""

import difflib
import logging
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from sca.config.sections.base import Flag

__all__ = [
    "OPTION_ORIGIN",
    "Given",
    "Key",
    "Problem",
    "from_environment",
    "from_file",
    "from_overrides",
    "place_of",
    "unknown",
]

_log = logging.getLogger(__name__)

_PREFIX = "SCA_"
_ALIKE = 0.75
"""How alike an unknown variable and one of ours must be, from 0 to 1, to count as misspelled. Other programs' `API_TOKEN`
is 0.61 like `LLM_MAX_TOKENS`; `FRAMES_HZ` is 0.94 like `FRAME_HZ`."""
_AT_LINE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting, described by its field.

    Attributes:
        name: The dotted name, `section.field`.
        env: The environment variable.
        default: The default value; None if the setting has no value until it is given one.
        description: What the setting means, in sentences.
        expected: The accepted values, in words.
        kind: The type of a value that is not None: bool, int, float, or str for everything else.
        choices: The accepted values of a setting with fixed choices, else empty.
        optional: Whether the setting may have no value.
        flag: The option of the commands that offer this setting.
    """

    name: str
    env: str
    default: object
    description: str
    expected: str
    kind: type
    choices: tuple[str, ...]
    optional: bool
    flag: Flag | None

    @property
    def section(self) -> str:
        """The section, a table of the TOML file."""
        return self.name.partition(".")[0]

    @property
    def field(self) -> str:
        """The name inside the section."""
        return self.name.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Given:
    """A raw value from a source.

    Attributes:
        value: The value.
        origin: The source, as `sca config show` prints it.
        is_text: Whether the value is text from the environment or the command line, to be converted to the field's
            type.
    """

    value: object
    origin: str
    is_text: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings.

    Attributes:
        text: What is wrong, and where.
        hint: What to do about it.
        cause: The exception behind it.
        by_option: Whether the value was given by the setting's own option.
    """

    text: str
    hint: str | None = None
    cause: Exception | None = None
    by_option: bool = False


OPTION_ORIGIN = "command line "
"""What the origin of a value begins with that the setting's own option gave; the option follows."""


def place_of(origin: str, name: str) -> str:
    """Return where a bad value is: its option, or its source and the name of the setting."""
    return origin.removeprefix(OPTION_ORIGIN) if origin.startswith(OPTION_ORIGIN) else f"{origin}: {name}"


def unknown(origin: str, name: str, known: Iterable[str]) -> Problem:
    """Describe a name that is not a setting, with the nearest name that is one."""
    known = list(known)
    # `lead_chunks` for `duplex.lead_chunks`: the right name without its section is the nearest there can be.
    near = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]]
    near = near or [full for full in known if "." in name and full.startswith(name)]
    # The cutoff: the brackets alone make two short section names half alike.
    near = near[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.51)
    hint = f"did you mean {near[0]}?" if near else "`sca config show` lists every setting"
    return Problem(f"{origin}: {name} is not a setting", hint)


def from_file(path: Path, keys: Mapping[str, Key]) -> tuple[dict[str, Given], list[Problem]]:
    """Read the settings of a TOML file."""
    origin = f"file {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        return {}, [Problem(f"{origin} does not exist", "`sca config default` prints one to start from", error)]
    except OSError as error:
        return {}, [Problem(f"{origin}: cannot be read ({error.strerror})", None, error)]
    except UnicodeDecodeError as error:
        return {}, [Problem(f"{origin}: is not UTF-8 text", "TOML files are UTF-8", error)]
    except (ValueError, RecursionError) as error:  # invalid TOML, or a number or nesting beyond Python's limits
        return {}, [_syntax_problem(path, error)]

    given: dict[str, Given] = {}
    problems: list[Problem] = []
    sections = {key.section for key in keys.values()}
    for section, table in document.items():
        if section not in sections:
            # Either a misspelled section, or a setting above its section.
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


def _syntax_problem(path: Path, error: Exception) -> Problem:
    found = _AT_LINE.search(str(error))
    line = f", line {found['line'] or 'end'}" if found else ""
    return Problem(f"file {path}{line}: not valid TOML: {_AT_LINE.sub('', str(error))}", None, error)


def from_environment(
    env: Mapping[str, str], keys: Mapping[str, Key], reserved: Iterable[str]
) -> tuple[dict[str, Given], list[Problem]]:
    """Read the settings from environment variables. An empty variable counts as not set.

    An unknown variable with the name of a section, or similar to one of ours, is a problem. Others belong to other programs,
    and are named once in the log.
    """
    by_env = {key.env: key.name for key in keys.values()}
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for variable in sorted(env):
        if variable in by_env:  # also those of Slurm, without our prefix
            if env[variable]:
                given[by_env[variable]] = Given(env[variable], f"environment {variable}", is_text=True)
        elif variable.startswith(_PREFIX) and variable not in reserved:
            if _is_meant(variable, [*by_env, *reserved], {key.section for key in keys.values()}):
                problems.append(unknown("environment", variable, [*by_env, *reserved]))
            else:
                _warn_of_foreign(variable)
    return given, problems


def _is_meant(variable: str, known: Sequence[str], sections: Iterable[str]) -> bool:
    name = variable.removeprefix(_PREFIX)
    if any(name.startswith(f"{section.upper()}_") for section in sections):
        return True
    return bool(difflib.get_close_matches(name, [one.removeprefix(_PREFIX) for one in known], n=1, cutoff=_ALIKE))


@cache
def _warn_of_foreign(variable: str) -> None:
    _log.warning("%s is not a setting of sca and is ignored", variable)


def from_overrides(
    overrides: Mapping[str, object], keys: Mapping[str, Key], *, by_flag: bool = False
) -> tuple[dict[str, Given], list[Problem]]:
    """Read the settings given on the command line.

    Args:
        overrides: Values by dotted name; None counts as not given.
        keys: Every setting by its dotted name.
        by_flag: Whether the values were given by the settings' own options and not by `--set`.
    """
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for name, value in overrides.items():
        plain = value.value if isinstance(value, Enum) else value
        if name not in keys:
            problems.append(unknown("command line", name, keys))
        elif plain is not None:
            flag = keys[name].flag
            origin = f"{OPTION_ORIGIN}{flag.name}" if by_flag and flag is not None else "command line"
            given[name] = Given(plain, origin, is_text=isinstance(plain, str))
    return given, problems
