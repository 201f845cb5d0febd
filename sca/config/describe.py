"""Descriptions of the settings: accepted values in words, problems as one error, the settings file, the documentation tables."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from sca.config.loaders import OPTION_ORIGIN, Key, Problem, place_of
from sca.errors import ConfigError, ScaError, UsageError

__all__ = [
    "default_toml",
    "documentation_table",
    "expected",
    "problems_of",
    "raise_for",
    "special_words",
    "toml_value",
    "value_type",
]

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    SecretStr: "text",
}
_WIDTH = 120
_LONGEST_SHOWN = 60


def value_type(field: FieldInfo) -> tuple[object, tuple[str, ...], bool]:
    """Return the type of a field's values other than None, its fixed choices, and whether None is a value."""
    annotation: object = field.annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kind = next(part for part in parts if part is not NoneType)
    choices = tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
    return kind, choices, NoneType in parts


def special_words(field: FieldInfo) -> tuple[str, ...]:
    """Return the words that a field accepts beside its numbers, such as `auto`."""
    parts = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else ()
    return tuple(str(word) for part in parts[1:] if get_origin(part) is Literal for word in get_args(part))


def expected(field: FieldInfo) -> str:
    """Describe what a field accepts: `a whole number from 1 to 99`, `one of keep, drop-unit`, `text or none`."""
    kind, choices, optional = value_type(field)
    words = "one of " + ", ".join(choices) if choices else _KINDS.get(kind, str(kind))  # type: ignore[call-overload]
    words += "".join(f" or {word}" for word in special_words(field))
    limits = _limits(field)
    if any(getattr(mark, "min_length", None) for mark in field.metadata):
        limits += ", not empty"
    pattern = next((mark.pattern for mark in field.metadata if getattr(mark, "pattern", None)), None)
    if pattern:
        limits += f" that matches {pattern}"
    return f"{words}{limits}{', or none' if limits and optional else ' or none' if optional else ''}"


def _limits(field: FieldInfo) -> str:
    """Describe the bounds of a number: ` from 0 to 1`, ` above 0 and up to 1`, ` from 0 to below 1`."""
    bounds = {
        name: _number(getattr(mark, name))
        for name in ("ge", "gt", "le", "lt")
        for mark in field.metadata
        if getattr(mark, name, None) is not None
    }
    if not bounds:
        return ""
    low = f" from {bounds['ge']}" if "ge" in bounds else f" above {bounds['gt']} and up"
    return f"{low} to {bounds['le']}" if "le" in bounds else f"{low} to below {bounds['lt']}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def problems_of(error: ValidationError, section: str, origins: dict[str, str], keys: dict[str, Key]) -> list[Problem]:
    """Convert a pydantic error to problems, each with the source of its value."""
    found = []
    for detail in error.errors(include_url=False):
        name = ".".join([section, *(str(part) for part in detail["loc"][:1])])
        place = place_of(origins[name], name) if name in origins else name
        if detail["type"] == "value_error":  # raised by one of our validators, with a complete message
            text = f"{place} {detail['ctx']['error']}"
        elif name in keys:
            text = f"{place} should be {keys[name].expected}, got {detail['input']!r}"
        else:
            text = f"{place}: {detail['msg']}"
        by_option = origins.get(name, "").startswith(OPTION_ORIGIN)
        found.append(Problem(text, None, error, by_option=by_option))
    return found


def raise_for(problems: Sequence[Problem]) -> None:
    """Raise one error that lists every problem. A single problem caused by one of our errors keeps its class.

    Raises:
        UsageError: All of them are values of named options.
        ConfigError: There are others.
    """
    if not problems:
        return
    first = problems[0]
    of_options = all(problem.by_option for problem in problems)
    kind: type[ScaError] = UsageError if of_options else ConfigError
    if len(problems) == 1:
        kind = type(first.cause) if isinstance(first.cause, ConfigError) else kind
        raise kind(first.text, hint=first.hint) from first.cause
    lines = [f"{p.text} ({p.hint})" if p.hint else p.text for p in problems]
    lines = [f"{len(problems)} {'options' if of_options else 'settings'} are invalid:", *lines]
    error = kind("\n     ".join(lines))
    error.lines = (lines[0], *(f"     {line}" for line in lines[1:]))
    raise error


def toml_value(value: object) -> str:
    """Format a value as TOML. JSON strings, numbers and booleans are valid TOML."""
    return json.dumps(value if isinstance(value, str | int | float) else str(value), ensure_ascii=False)


def default_toml(keys: Iterable[Key]) -> str:
    """Format a settings file with every default, its meaning and its environment variable."""
    lines = [
        "# Every setting of sca with its default. Copy the lines you change to your own file and pass it with --config.",
        "# Command line > SCA_* environment > file > defaults; `sca config show` prints each value and its source.",
        "# Written by `sca config default`. A setting that is commented out has no value by default.",
    ]
    section = None
    for key in keys:
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        lines += ["", *(f"# {line}" for line in textwrap.wrap(key.description, _WIDTH - 2))]
        lines.append(f"# {key.expected[0].upper()}{key.expected[1:]}. {key.env}")
        lines.append(f"# {key.field} =" if key.default is None else f"{key.field} = {toml_value(key.default)}")
    return "\n".join(lines) + "\n"


def documentation_table(keys: Iterable[Key]) -> str:
    """Format the settings as Markdown: a heading and a table per section."""
    lines = []
    for section, members in groupby(keys, key=lambda key: key.section):
        lines += [
            f"### {section}",
            "",
            "| setting | environment | option | default | accepts | meaning |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_documentation_row(key) for key in members]
        lines.append("")
    return "\n".join(lines)


def _documentation_row(key: Key) -> str:
    default = "" if key.default is None else toml_value(key.default)
    cells = (
        f"`{key.name}`",
        f"`{key.env}`",
        f"`{key.flag.name}`" if key.flag else "",
        f"`{default}`" if 0 < len(default) < _LONGEST_SHOWN else "(a sentence)" if default else "",
        key.expected,
        key.description,
    )
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
