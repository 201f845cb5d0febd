"""The classes of all commands: help with groups and examples, earlier spellings of options, and the name for results.

The help is plain text of the same form on a terminal and in a pipe. Rich's tables cut long names of options in narrow
terminals, read brackets such as `sca[live]` as markup, and take twice the time.
"""

import re
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException
from typing_extensions import override

from sca.cli.shared.console import begin_command, print_note, show_details
from sca.cli.shared.examples import EXAMPLES
from sca.cli.shared.urls.places import places
from sca.errors import UnknownNameError

__all__ = ["Command", "Group"]

_EARLIER = {"--output": ("--out", "--output-dir", "--output-path", "--save-file")}
"""Spellings of an option that are still read and no longer shown."""


def _verbose_option() -> Any:
    # Made by typer from a function: the constructor of its options differs between its versions.
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(
        verbose: bool = typer.Option(
            False,
            "--verbose",
            "-v",
            is_eager=True,
            expose_value=False,
            show_default=False,
            callback=lambda value: show_details() if value else None,
            help="Show the log messages of sca, and the causes of an error.",
        ),
    ) -> None: ...

    return next(option for option in typer.main.get_command(app).params if option.name == "verbose")


_VERBOSE = _verbose_option()


_SERVERS = ("serve",)
"""Commands with a log of their own and a setting for its level."""


class Command(TyperCommand):
    """A command."""

    @override
    def get_params(self, ctx: Any) -> Any:
        parameters = super().get_params(ctx)
        if self.name in _SERVERS or any("-v" in parameter.opts for parameter in parameters):
            return parameters
        return [*parameters[:-1], _VERBOSE, *parameters[-1:]]  # --help stays the last

    @override
    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        for parameter in (one for one in self.get_params(ctx) if isinstance(one, TyperOption)):
            earlier = [old for name in parameter.opts for old in _EARLIER.get(name, ()) if old not in own]
            if earlier:
                parser.add_option(obj=parameter, opts=earlier, dest=parameter.name, action="store", nargs=1)
        return parser

    @override
    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        name = ctx.command_path.partition(" ")[2]
        if name in EXAMPLES:
            with formatter.section("Examples"):
                for example in EXAMPLES[name]:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")

    @override
    def invoke(self, ctx: Any) -> Any:
        begin_command(ctx.command_path)
        try:
            with places(ctx, note=lambda text: print_note(f"sca: {text}")):
                return super().invoke(ctx)
        except UnknownNameError as error:
            option = _option_with(ctx, error.name)
            if option is not None:
                error.message = f"{option}: {error.message}"
            raise


def _option_with(ctx: Any, name: str) -> str | None:
    """Return the option of the command line that has a name as its value, or in its list of values."""
    for parameter in ctx.command.params:
        given = ctx.params.get(parameter.name)
        source = ctx.get_parameter_source(parameter.name)
        if not isinstance(parameter, TyperOption) or source is None or source.name != "COMMANDLINE":
            continue
        for value in given if isinstance(given, list | tuple) else (given,):
            if name in re.split(r"[,:=\s]+", str(value)) or name == str(value):
                key = str(value).partition("=")[0] if parameter.opts[0] == "--set" else ""
                return f"{parameter.opts[0]} {key}".rstrip()
    return None


class Group(TyperGroup):
    """A group of commands, listed under the headings that they were registered with."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        self.suggest_commands = False  # Typer would suggest hidden commands
        try:
            return super().resolve_command(ctx, args)
        except TyperException as error:
            error.message = f"{error.message} {self._nearest(args[0])}".rstrip()
            raise

    def _nearest(self, name: str) -> str:
        """Return a question with the nearest command, or the nearest one of a group in this group; empty without any."""
        own = {text: command for text, command in self.commands.items() if not command.hidden}
        inner = {part: f"{text} {part}" for text, command in own.items() for part in getattr(command, "commands", ())}
        for names in ({text: text for text in own}, inner):
            for near in get_close_matches(name, names, n=1):
                return f"Did you mean '{names[near]}'?"
        return ""

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        for name, command in shown:
            heading = getattr(command, "rich_help_panel", None)
            rows = headings.setdefault(heading if isinstance(heading, str) else "Commands", [])
            rows.append((name, " ".join((command.help or "").split("\n\n")[0].split())))
        width = max(len(name) for name, _ in shown)
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])
