"""The stages of a recipe as commands: variables replaced, options checked against the real commands, keys."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from sca.config import known_keys
from sca.errors import ScaError
from sca.recipes.format import OnPartial, Recipe, RecipeHead, Stage, Value, flattened
from sca.recipes.places import inputs_of, output_of
from sca.recipes.source import Mistake, Source, raise_for
from sca.recipes.variables import UnknownVariableError, parse_assignments, resolved, substituted
from sca.textutil import did_you_mean
from sca.urls.shown import with_urls

__all__ = ["Commands", "Given", "Plan", "PlannedStage", "make_plan"]


class Commands(Protocol):
    """The commands that a stage may run, and their options."""

    def check(self, command: str) -> None:
        """Check that a stage may run a command.

        Raises:
            UsageError: It does not exist, or is none for a stage.
        """
        ...

    def option_words(self, command: str, name: str, value: object) -> list[str]:
        """Return the words of an option: `["--jobs", "4"]`, `["--no-vad"]`.

        Args:
            command: The command.
            name: The name without dashes.
            value: A value, or a list of values for an option that may be repeated.

        Raises:
            UsageError: The command has no such option, or the value does not suit it.
        """
        ...

    def takes_settings(self, command: str) -> bool:
        """Return whether a command has `--set` and `--config`."""
        ...

    def parsed(self, command: str, words: Sequence[str]) -> Mapping[str, object]:
        """Parse the words of a command as it does itself, with its settings.

        Returns:
            The parameters by their names in the function.

        Raises:
            ScaError: A value is missing or wrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that can run.

    Attributes:
        name: The name.
        command: The command, such as `transcode` or `models get`.
        words: The words after `sca`.
        inputs: Files, folders and addresses that it reads, as in the words.
        output: The file, folder or address that it writes; None without one.
        key: Hash of the words and of the keys of the stages before it.
        on_partial: What follows if some items failed.
        parameters: The parameters of the command by their names in the function.
    """

    name: str
    command: str
    words: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str | None
    key: str
    on_partial: OnPartial
    parameters: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe that can run.

    Attributes:
        head: Name, sentence and folder as in the file.
        source: Its text.
        folder: The folder of its outputs.
        variables: The variables with their values.
        stages: The stages in their order.
    """

    head: RecipeHead
    source: Source
    folder: Path
    variables: Mapping[str, Value]
    stages: tuple[PlannedStage, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line changes in a recipe.

    Attributes:
        folder: The folder; None for that of the recipe.
        variables: Assignments `NAME=VALUE`.
        settings: Settings by dotted name, which win over those of the recipe.
        config: A settings file for all stages.
    """

    folder: Path | None = None
    variables: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None


def make_plan(recipe: Recipe, source: Source, commands: Commands, given: Given | None = None) -> Plan:
    """Check a recipe completely and return its stages as commands.

    Args:
        recipe: The recipe.
        source: Its text, for the lines in errors.
        commands: The commands.
        given: What the command line changes.

    Raises:
        UsageError: An assignment of a variable is wrong.
        ConfigError: A stage is wrong; the message lists all mistakes with their lines.
    """
    given = given or Given()
    folder = str(given.folder or recipe.recipe.folder)
    changed = {**recipe.variables, **parse_assignments(given.variables, recipe.variables)}
    variables, mistakes = resolved(changed, folder)
    planner = _Planner(recipe, commands, given, variables, mistakes)
    stages = tuple(planner.stage(at, stage) for at, stage in enumerate(recipe.stage))
    raise_for(source, mistakes)
    own = {name: value for name, value in variables.items() if name in recipe.variables}
    return Plan(recipe.recipe, source, Path(folder), own, tuple(stage for stage in stages if stage is not None))


class _Planner:
    """Makes the stages in their order, and collects mistakes."""

    def __init__(
        self,
        recipe: Recipe,
        commands: Commands,
        given: Given,
        variables: dict[str, Value],
        mistakes: list[Mistake],
    ) -> None:
        self._head = recipe.recipe
        self._commands = commands
        self._given = given
        self._variables = variables
        self._mistakes = mistakes
        self._known = {key.name for key in known_keys()}
        self._key = ""
        self._outputs: list[str] = []
        self._table = recipe.settings
        self._common = self._settings(recipe.settings, ("settings",))

    def stage(self, at: int, stage: Stage) -> PlannedStage | None:
        """Return a stage, or None if it has mistakes."""
        before = len(self._mistakes)
        where = ("stage", at)
        try:
            self._commands.check(stage.command)
        except ScaError as error:
            self._mistakes.append(Mistake((*where, "command"), error.message, error.hint))
            return None
        words = self._words(where, stage)
        if len(self._mistakes) > before:
            self._announce(stage, None)
            return None
        try:
            parameters = self._commands.parsed(stage.command, words)
        except ScaError as error:
            self._mistakes += self._located(where, stage, error)
            self._announce(stage, None)
            return None
        output = output_of(stage.command, parameters)
        inputs = inputs_of(stage.command, parameters, tuple(self._outputs))
        self._announce(stage, output)
        all_words = (*stage.command.split(), *words)
        # A folder at a URL has another path on another machine.
        self._key = sha256(json.dumps([self._key, [with_urls(word) for word in all_words]]).encode()).hexdigest()
        on_partial = stage.on_partial or self._head.on_partial
        return PlannedStage(
            stage.label, stage.command, all_words, tuple(inputs), output, self._key, on_partial, parameters
        )

    def _announce(self, stage: Stage, output: str | None) -> None:
        """Make the output of a stage a variable of those after it."""
        if output is not None:
            self._outputs.append(output)
        self._variables[f"stages.{stage.label}.output"] = output or ""

    def _words(self, where: tuple[str, int], stage: Stage) -> list[str]:
        arguments = [
            _text(self._filled(value, (*where, "arguments", number))) for number, value in enumerate(stage.arguments)
        ]
        words = []
        for name, value in stage.options.items():
            place = (*where, name)
            filled = (
                [self._filled(one, place) for one in value] if isinstance(value, list) else self._filled(value, place)
            )
            try:
                words += self._commands.option_words(stage.command, name, filled)
            except ScaError as error:
                self._mistakes.append(Mistake(place, error.message, error.hint))
        words += self._setting_words(where, stage)
        # An argument that begins with a dash would be read as an option.
        return [*words, "--", *arguments] if any(text.startswith("-") for text in arguments) else [*arguments, *words]

    def _setting_words(self, where: tuple[str, int], stage: Stage) -> list[str]:
        own = self._settings(stage.settings, (*where, "settings"))
        if not self._commands.takes_settings(stage.command):
            if own:
                self._mistakes.append(Mistake((*where, "settings"), f"sca {stage.command} has no settings"))
            return []
        merged = {**self._common, **own, **self._given.settings}
        words = ["--config", str(self._given.config)] if self._given.config else []
        return [*words, *(word for name, text in merged.items() for word in ("--set", f"{name}={text}"))]

    def _settings(self, table: Mapping[str, Any], where: tuple[str | int, ...]) -> dict[str, str]:
        """Return settings as texts by dotted name."""
        found = {}
        for keys, value in flattened(table):
            name, place = ".".join(keys), (*where, *keys)
            if name not in self._known:
                near = did_you_mean(name, self._known)
                self._mistakes.append(Mistake(place, f"{name} is not a setting", near or "`sca config show` lists all"))
            elif isinstance(value, list):
                self._mistakes.append(Mistake(place, f"{name} is a list; settings are single values"))
            else:
                found[name] = _text(self._filled(value, place))
        return found

    def _filled(self, value: Value, where: tuple[str | int, ...]) -> Value:
        try:
            return substituted(value, self._variables)
        except UnknownVariableError as error:
            self._mistakes.append(Mistake(where, error.message, error.hint))
            return value

    def _located(self, where: tuple[str, int], stage: Stage, error: ScaError) -> list[Mistake]:
        """Return the mistakes of an error of the parser, each at the line of the option or setting that it names."""
        if len(error.lines) > 1:  # the first one has their number
            return [Mistake(self._place(where, stage, line), line.strip()) for line in error.lines[1:]]
        place = self._place(where, stage, error.message)
        missing = place[-1] == "command"
        return [Mistake(place, f"sca {stage.command}: {error.message}" if missing else error.message, error.hint)]

    def _place(self, where: tuple[str, int], stage: Stage, message: str) -> tuple[str | int, ...]:
        options = {name.replace("_", "-"): name for name in stage.options}
        for name in re.findall(r"--([a-z][a-z0-9_-]*)", message):
            if name in options:
                return (*where, options[name])
        for place, table in (((*where, "settings"), stage.settings), (("settings",), self._table)):
            for keys, _ in flattened(table):
                if ".".join(keys) in message:
                    return (*place, *keys)
        return (*where, "command")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
