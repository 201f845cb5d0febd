"""`sca run`: the stages of a recipe, one after another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import CommandInterrupt, print_line
from sca.cli.shared.options import ConfigFile, Json, Quiet, SetValues
from sca.errors import OutputError, UsageError, check_target
from sca.textutil import command_line

if TYPE_CHECKING:
    from sca.recipes.plan import Plan

__all__ = ["run_recipe_command"]


def _shipped(incomplete: str) -> list[str]:
    """Offer the recipes that ship with sca."""
    from sca.recipes.shipped import shipped_names

    return [name for name in shipped_names() if name.startswith(incomplete)]


def run_recipe_command(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A recipe, TOML, or the name of one that ships with sca.",
            show_default=False,
            autocompletion=_shipped,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the outputs. Not set: that of the recipe.",
            show_default=False,
        ),
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help="Value of a variable of the recipe; may be repeated.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="First stage to run.", show_default=False)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--until", metavar="STAGE", help="Last stage to run.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="STAGE", help="Run only this stage; may be repeated.", show_default=False),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Run stages that are done too; they make only what is missing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages with what is done, items, time and space; run nothing.")
    ] = False,
    list_shipped: Annotated[bool, typer.Option("--list", help="List the recipes that ship with sca.")] = False,
    copy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Copy the recipe to a file to edit, and run nothing.", show_default=False),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the commands of a recipe one after another, as one pipeline that continues where it stopped.

    A recipe is a TOML file with a [[stage]] for each command. All stages are checked before the first one runs; a second run
    does only what is missing.
    """
    # Not at the top: every command of sca would wait for what estimates need.
    from sca.cli.run.output import StageLines, print_list, print_plan, print_results
    from sca.recipes.run import Selection, failure_of, run_recipe, selected

    if list_shipped:
        print_list(json=json)
        return
    if recipe is None:
        raise UsageError("the recipe is missing", hint="sca run synth, or `sca run --list` for the recipes that ship")
    if copy is not None:
        _copy(recipe, copy)
        return
    plan = _plan(context, recipe, output, variables or [], config, set_values or [])
    selection = Selection(first, last, only or [], again=again)
    if dry_run:
        print_plan(plan, selected(plan, selection), again=again, json=json)
        return
    try:
        results = run_recipe(plan, selection, listener=StageLines(quiet=quiet), to_stderr=json)
    except KeyboardInterrupt as error:  # the command of the stage has reported what it leaves
        raise CommandInterrupt("the same sca run continues with this stage") from error
    print_results(plan, results, json=json, quiet=quiet)
    failure = failure_of(results)
    if failure is not None:
        raise failure


def _plan(
    context: typer.Context,
    name: str,
    output: Path | None,
    variables: list[str],
    config: Path | None,
    set_values: list[str],
) -> "Plan":
    from sca.cli.run.commands import StageCommands
    from sca.config import parse_set
    from sca.recipes.plan import Given, make_plan
    from sca.recipes.shipped import find_recipe

    recipe, source = find_recipe(name)
    given = Given(output, variables, parse_set(set_values), config)
    return make_plan(recipe, source, StageCommands(context.find_root().command), given)


def _copy(name: str, target: Path) -> None:
    from sca.data.runs.files import atomic_write
    from sca.recipes.shipped import find_recipe

    _, source = find_recipe(name)
    check_target(target)
    if target.exists():
        raise OutputError(f"{target} exists already", hint="give another name, or remove it")
    with atomic_write(target) as temporary:
        temporary.write_text(source.text, encoding="utf-8")
    print_line(f"edit {target}, then run it:  {command_line('run', target)}")
