"""Variables of recipes: `{folder}`, `{NAME}` of `[variables]`, `{stages.NAME.output}` of an earlier stage."""

import re
import tomllib
from collections.abc import Mapping, Sequence

from sca.errors import UsageError, unknown_name
from sca.recipes.format import Value
from sca.recipes.source import Mistake
from sca.textutil import did_you_mean

__all__ = ["UnknownVariableError", "parse_assignments", "resolved", "substituted"]

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}\s]*)\}")


class UnknownVariableError(UsageError):
    """A text names a variable that does not exist, or not yet."""


def substituted(value: Value, variables: Mapping[str, Value]) -> Value:
    """Return a value with its variables replaced. `{{` and `}}` are braces.

    A text that is one variable and nothing else becomes its value with its type.

    Args:
        value: A value of a recipe.
        variables: The variables by name.

    Raises:
        UnknownVariableError: A variable does not exist.
    """
    if not isinstance(value, str):
        return value
    alone = _BRACES.fullmatch(value)
    if alone and alone[1] is not None:
        return _value_of(alone[1], variables)
    return _BRACES.sub(lambda found: _text_of(found, variables), value)


def _text_of(found: re.Match[str], variables: Mapping[str, Value]) -> str:
    if found[1] is None:
        return found[0][0]
    value = _value_of(found[1], variables)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value_of(name: str, variables: Mapping[str, Value]) -> Value:
    if name not in variables:
        hint = f"{did_you_mean(name, variables)}available here: {', '.join(variables)}; {{{{ is a brace"
        raise UnknownVariableError(f"{{{name}}} is not a variable", hint=hint)
    return variables[name]


def parse_assignments(pairs: Sequence[str], known: Mapping[str, Value]) -> dict[str, Value]:
    """Convert `--var NAME=VALUE` to values of the types that the recipe has.

    Args:
        pairs: The assignments; a later one wins.
        known: The variables of the recipe.

    Raises:
        UsageError: One is no assignment, names another variable, or has a value of another type.
    """
    given: dict[str, Value] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--var should be NAME=VALUE, got {pair!r}", hint="such as --var hours=2")
        if name not in known:
            raise unknown_name(f"--var {pair}: the recipe has no variable {name}", name, known)
        given[name] = _converted(text, known[name], pair)
    return given


def _converted(text: str, like: Value, pair: str) -> Value:
    if isinstance(like, str):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    is_number = isinstance(like, int | float) and not isinstance(like, bool)
    if is_number and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if isinstance(like, float) else value
    if isinstance(like, bool) and isinstance(value, bool):
        return value
    kind = "a number" if is_number else "true or false"
    raise UsageError(f"--var {pair}: {pair.partition('=')[0]} should be {kind}")


def resolved(variables: Mapping[str, Value], folder: str) -> tuple[dict[str, Value], list[Mistake]]:
    """Return `{folder}` and the variables, which may name the folder and variables above them, and what is wrong.

    Args:
        variables: The variables of the recipe with the given values.
        folder: The folder of the recipe.
    """
    values: dict[str, Value] = {"folder": folder}
    mistakes = []
    for name, value in variables.items():
        try:
            values[name] = substituted(value, values)
        except UnknownVariableError as error:
            mistakes.append(Mistake(("variables", name), error.message, error.hint))
            values[name] = value
    return values, mistakes
