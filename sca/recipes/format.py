"""The format of recipes: TOML with `[recipe]`, `[variables]`, `[settings]` and one `[[stage]]` per command of sca.

    [recipe]
    name = "podcast"
    folder = "dataset/podcast"

    [variables]
    audio = "podcasts"

    [[stage]]
    command = "transcribe"
    arguments = ["{audio}"]
    output = "{folder}/lines.jsonl"
    diarize = true

A key of a stage that is none of the fields of `Stage` is an option of its command. The commands themselves are checked by
`sca.recipes.plan`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import ConfigError, InputError, TooLargeError
from sca.files.bounded import read_whole
from sca.recipes.source import Mistake, Source, raise_for
from sca.textutil import did_you_mean

__all__ = ["OnPartial", "Recipe", "RecipeHead", "Stage", "Value", "flattened", "parse_recipe", "read_recipe"]

_MAX_BYTES = 1_000_000
_NAME = r"^[a-z0-9][a-z0-9_-]*$"
_AT_LINE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")

Value = bool | int | float | str
OnPartial = Literal["continue", "stop"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RecipeHead(_Table):
    """The table `[recipe]`.

    Attributes:
        name: The name, in the folder and in results.
        about: What the recipe makes, one sentence.
        folder: The folder of its outputs.
        on_partial: What follows a stage of which some items failed (exit code 7).
    """

    name: str = Field(pattern=_NAME)
    about: str = ""
    folder: str = Field(min_length=1)
    on_partial: OnPartial = "continue"


class Stage(BaseModel):
    """A table `[[stage]]`; further keys are options of the command.

    Attributes:
        command: The command of sca, such as `transcode` or `models get`.
        name: The name of the stage; the command if not set.
        arguments: The arguments of the command.
        settings: Settings of this stage, which win over those of the recipe.
        on_partial: See `RecipeHead`; not set: that of the recipe.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    command: str = Field(min_length=1)
    name: str | None = Field(default=None, pattern=_NAME)
    arguments: list[Value] = []
    settings: dict[str, Any] = {}
    on_partial: OnPartial | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the command by their names without dashes, in the order of the file."""
        return dict(self.model_extra or {})

    @property
    def label(self) -> str:
        """The name, or the command with a dash between its words."""
        return self.name or self.command.replace(" ", "-")


class Recipe(_Table):
    """A recipe.

    Attributes:
        recipe: Name and folder.
        variables: Values that stages name in braces.
        settings: Settings of all stages, by section.
        stage: The stages in their order.
    """

    recipe: RecipeHead
    variables: dict[str, Value] = {}
    settings: dict[str, Any] = {}
    stage: list[Stage] = Field(min_length=1)


def read_recipe(path: Path) -> tuple[Recipe, Source]:
    """Read a recipe.

    Raises:
        InputError: The file cannot be read.
        ConfigError: It is not a recipe; the message has the lines.
    """
    try:
        text = read_whole(path, _MAX_BYTES).decode()
    except TooLargeError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text", hint="TOML files are UTF-8") from error
    source = Source(str(path), text)
    return parse_recipe(source), source


def parse_recipe(source: Source) -> Recipe:
    """Parse the text of a recipe.

    Raises:
        ConfigError: It is not a recipe; the message has the lines.
    """
    try:
        document = tomllib.loads(source.text)
    except (ValueError, RecursionError) as error:
        found = _AT_LINE.search(str(error))
        line = f":{found['line'] or 'end'}" if found else ""
        raise ConfigError(f"{source.name}{line}: not valid TOML: {_AT_LINE.sub('', str(error))}") from error
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        mistakes = [_mistake(detail) for detail in error.errors(include_url=False)]
        raise_for(source, list(dict.fromkeys(mistakes)))  # a value of several types has an error for each
        raise
    raise_for(source, [*_of_values(recipe), *_of_names(recipe)])
    return recipe


def flattened(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the keys of nested tables with their values: `duplex.window` may be one key or a key in a table."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            for keys, inner in flattened(value):
                yield (key, *keys), inner
        else:
            yield (key,), value


def _mistake(detail: Any) -> Mistake:
    """Word an error of pydantic."""
    # A value of several types has the name of the type at the end of its place.
    where = tuple(part for part in detail["loc"] if part not in ("bool", "int", "float", "str"))
    name = str(where[-1]) if where else "the file"
    match detail["type"]:
        case "missing":
            return Mistake(where, f"{_described(where)} is missing", _hint_of_missing(where))
        case "extra_forbidden":
            fields = Recipe.model_fields if len(where) == 1 else RecipeHead.model_fields
            near = did_you_mean(name, fields) + f"known: {', '.join(fields)}"
            return Mistake(where, f"{_described(where)} is no field of a recipe", near)
        case "string_pattern_mismatch":
            return Mistake(where, f"{name} should be lower-case letters, digits, - and _, got {detail['input']!r}")
        case "too_short" | "string_too_short":
            return Mistake(where, f"{_described(where)} is empty")
        case "literal_error":
            return Mistake(where, f"{name} should be {detail['ctx']['expected']}, got {detail['input']!r}")
        case "bool_type" | "int_type" | "float_type" | "string_type" if len(where) < len(detail["loc"]):
            return Mistake(
                where, f"{_described(where)} should be text, a number, true or false, got {detail['input']!r}"
            )
        case _:
            message = detail["msg"].removeprefix("Input ")
            return Mistake(where, f"{_described(where)} {message}, got {detail['input']!r}")


def _hint_of_missing(where: tuple[Any, ...]) -> str | None:
    if where == ("recipe",):
        return 'a recipe begins with [recipe], name = "…" and folder = "…"'
    return 'each stage begins with [[stage]] and command = "…"' if where[0] == "stage" else None


def _described(where: tuple[Any, ...]) -> str:
    """Return the place of a field in words: `command of stage 2`, `folder of [recipe]`, `[recipe]`."""
    match where:
        case ("recipe" | "variables" | "settings" as table,):
            return f"[{table}]"
        case ("stage",):
            return "[[stage]]"
        case ("stage", int(at), *rest) if rest:
            return f"{rest[0]} of stage {at + 1}"
        case ("recipe" | "variables" | "settings" as table, *rest):
            return f"{'.'.join(map(str, rest))} of [{table}]"
        case _:
            return ".".join(map(str, where)) or "the document"


def _of_values(recipe: Recipe) -> Iterator[Mistake]:
    """Yield the options and settings that are tables or have other values that are no words of a command."""
    for at, stage in enumerate(recipe.stage):
        for name, value in stage.options.items():
            if isinstance(value, dict):
                yield Mistake(
                    ("stage", at, name),
                    f"{name} of stage {at + 1} is a table",
                    "options are values; settings go in settings = { … }",
                )
            elif any(isinstance(one, dict | list) for one in (value if isinstance(value, list) else ())):
                yield Mistake(("stage", at, name), f"{name} of stage {at + 1} is a list of lists or tables")


def _of_names(recipe: Recipe) -> Iterator[Mistake]:
    """Yield names that stages or variables must not have, and variables in the folder."""
    seen: dict[str, int] = {}
    for at, stage in enumerate(recipe.stage):
        if stage.label in seen:
            yield Mistake(
                ("stage", at),
                f"stages {seen[stage.label] + 1} and {at + 1} are both called {stage.label}",
                'give one of them another name = "…"',
            )
        seen.setdefault(stage.label, at)
    if "{" in recipe.recipe.folder:
        yield Mistake(("recipe", "folder"), "folder has a variable in it", "--output gives another folder")
    for name in recipe.variables:
        if name == "folder" or "." in name:
            reason = "is the folder of the recipe" if name == "folder" else "has a dot in its name"
            yield Mistake(("variables", name), f"the variable {name} {reason}", "give it another name")
