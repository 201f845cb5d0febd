"""The commands that a stage of a recipe may run, checked with the parsers that the commands have themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperOption
from typer.exceptions import TyperException
from typing_extensions import override

from sca.cli.shared.settings_options import context_settings
from sca.errors import UsageError, unknown_name
from sca.recipes.plan import Commands
from sca.urls.address import is_url, local_path

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["StageCommands"]

_NO_STAGES = frozenset({"run", "serve", "browse", "live", "chat", "watch", "turn serve", "turn start", "turn watch"})
"""Commands that do not end, need a person, or run stages themselves."""
_OF_THE_RUN = {
    "json": "--json of sca run",
    "config": "--config of sca run",
    "set": "settings = { … }",
    "help": "sca --help",
}
"""Options that stages do not have, and what is in their place."""


class StageCommands(Commands):
    """The commands of a group.

    Args:
        root: The group, `sca`.
    """

    def __init__(self, root: Any) -> None:
        self._context = root.context_class(root, info_name="sca", **root.context_settings)
        self._found: dict[str, Any] = dict(_commands(root))

    @override
    def check(self, command: str) -> None:
        if command in _NO_STAGES:
            raise UsageError(f"sca {command} is no stage: it does not end by itself, or needs a person")
        if command not in self._found:
            known = sorted(name for name, found in self._found.items() if name not in _NO_STAGES and not found.hidden)
            raise unknown_name(f"sca has no command {command!r}", command, known, all_in="sca --help")

    @override
    def option_words(self, command: str, name: str, value: object) -> list[str]:
        normal = name.replace("_", "-")
        options = self._options(command)
        if normal not in options:
            instead = _OF_THE_RUN.get(normal)
            if instead is not None:
                raise UsageError(f"{name} is no option of a stage", hint=f"use {instead}")
            message, every = f"sca {command} has no option {name}", f"sca {command} --help"
            raise unknown_name(message, normal, sorted(options), all_in=every)
        option = options[normal]
        word = f"--{normal}"
        if option.is_flag:
            return _flag_words(option, word, value)
        values = value if isinstance(value, list) else [value]
        if isinstance(value, list) and not option.multiple:
            raise UsageError(f"{word} of sca {command} takes one value, got a list")
        if any(isinstance(one, bool) for one in values):
            raise UsageError(f"{word} of sca {command} takes a value, got {_text(value)}")
        # With an equals sign, a value that begins with a dash is not read as another option.
        return [part for one in values for part in _with_value(word, str(one))]

    @override
    def takes_settings(self, command: str) -> bool:
        return any("--set" in parameter.opts for parameter in self._found[command].get_params(self._context))

    @override
    def parsed(self, command: str, words: Sequence[str]) -> Mapping[str, object]:
        found = self._found[command]
        try:
            context = found.make_context(command, list(words), parent=self._context)
        except TyperException as error:
            raise UsageError(error.format_message()) from error
        except typer.Exit as error:
            raise UsageError(f"sca {command}: an option ends the command at once") from error
        if self.takes_settings(command):
            _check_executor(command, found, context_settings(context))
        paths = {parameter.name for parameter in found.params if getattr(parameter.type, "name", "") == "path"}
        return {name: _as_path(value) if name in paths else value for name, value in context.params.items()}

    def _options(self, command: str) -> dict[str, TyperOption]:
        """Return the options of a command by their long names."""
        parameters = self._found[command].get_params(self._context)
        return {
            name.removeprefix("--"): parameter
            for parameter in parameters
            if isinstance(parameter, TyperOption)
            for name in parameter.opts
            if name.startswith("--") and name.removeprefix("--") not in _OF_THE_RUN
        }


def _commands(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, command in group.commands.items():
        path = f"{prefix}{name}"
        found += _commands(command, f"{path} ") if hasattr(command, "commands") else [(path, command)]
    return found


def _check_executor(command: str, found: Any, settings: "Settings") -> None:
    """Check that a command does its work before it ends."""
    has_executor = any("--executor" in parameter.opts for parameter in found.params)
    if has_executor and settings.executor.kind == "slurm":
        raise UsageError(
            f"--executor slurm submits sca {command} and does not wait for its end",
            hint="run this command by itself, or give sca run itself to sbatch",
        )


def _as_path(value: object) -> object:
    """Convert what the function of a command gets as a path, which the parser leaves a text. URLs stay texts."""
    if isinstance(value, str):
        return value if is_url(value) else Path(local_path(value))
    return [_as_path(one) for one in value] if isinstance(value, list | tuple) else value


def _flag_words(option: TyperOption, word: str, value: object) -> list[str]:
    if not isinstance(value, bool):
        raise UsageError(f"{word} should be true or false, got {_text(value)}")
    if value:
        return [word]
    return [option.secondary_opts[0]] if option.secondary_opts else []


def _with_value(word: str, value: str) -> list[str]:
    return [f"{word}={value}"] if value.startswith("-") else [word, value]


def _text(value: object) -> str:
    return repr(value) if not isinstance(value, bool) else str(value).lower()
