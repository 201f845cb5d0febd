"""How settings read: what a field expects in words, complaints as one error, the documented file of defaults."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from sca.config.loaders import Key, Problem
from sca.errors import ConfigError

__all__ = ["default_toml", "expected", "problems_of", "raise_for", "toml_value"]

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    SecretStr: "text",
}
_BOUNDS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
_WIDTH = 120


def expected(field: FieldInfo) -> str:
    """What a field takes: `a whole number, at least 1`, `one of keep, drop-unit`, `text or none`."""
    words = _kind(field.annotation)
    for name, phrase in _BOUNDS:
        for mark in field.metadata:
            bound = getattr(mark, name, None)
            if bound is not None:
                words += f", {phrase} {bound}"
    if any(getattr(mark, "min_length", None) for mark in field.metadata):
        words += ", not empty"
    return words


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(annotation))
    if origin in (Union, UnionType):
        parts = [_kind(part) for part in get_args(annotation) if part is not NoneType]
        return " or ".join([*parts, "none"] if NoneType in get_args(annotation) else parts)
    return _KINDS.get(annotation, str(annotation))


def problems_of(error: ValidationError, section: str, origins: dict[str, str], keys: dict[str, Key]) -> list[Problem]:
    """The complaints in a pydantic error, each with the place its value came from."""
    found = []
    for detail in error.errors(include_url=False):
        name = ".".join([section, *(str(part) for part in detail["loc"][:1])])
        place = f"{origins[name]}: {name}" if name in origins else name
        if detail["type"] == "value_error":  # raised by a validator of ours, which says it all
            text = f"{place} {detail['ctx']['error']}"
        elif name in keys:
            text = f"{place} should be {keys[name].expected}, got {detail['input']!r}"
        else:
            text = f"{place}: {detail['msg']}"
        found.append(Problem(text, None, error))
    return found


def raise_for(problems: Sequence[Problem]) -> None:
    """Raise one error that lists every complaint; nothing if there is none. A lone error of ours keeps its class."""
    if not problems:
        return
    first = problems[0]
    if len(problems) == 1:
        kind = type(first.cause) if isinstance(first.cause, ConfigError) else ConfigError
        raise kind(first.text, hint=first.hint) from first.cause
    lines = [f"{p.text} ({p.hint})" if p.hint else p.text for p in problems]
    raise ConfigError("\n     ".join([f"{len(problems)} settings do not fit:", *lines]))


def toml_value(value: Any) -> str:
    """A setting's value as TOML writes it. JSON's strings, numbers and booleans are TOML's too."""
    return json.dumps(value if isinstance(value, str | int | float) else str(value), ensure_ascii=False)


def default_toml(keys: Iterable[Key]) -> str:
    """A settings file that holds every default, each with its meaning and its environment variable."""
    lines = [
        "# Every setting of sca with its default. Copy what you change to a file of your own and pass it by --config.",
        "# Command line > SCA_* environment > file > defaults; `sca config show` prints what holds and whence it came.",
        "# Made by `sca config default`. A setting that is commented out has no value until it is given one.",
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
