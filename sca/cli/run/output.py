"""What `sca run` prints: the stages of a plan, the progress, the results, and the recipes that ship."""

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.cli.shared.console import emit_json, print_line, print_note
from sca.recipes.run import RunListener, StageResult
from sca.recipes.shipped import shipped_names, shipped_recipe
from sca.textutil import command_line

if TYPE_CHECKING:
    from sca.recipes.estimate import Estimate
    from sca.recipes.plan import Plan, PlannedStage

__all__ = ["StageLines", "print_list", "print_plan", "print_results"]


class StageLines(RunListener):
    """A line on stderr for the start and the end of each stage.

    Args:
        quiet: Whether to print nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    @override
    def on_stage_start(self, stage: "PlannedStage", number: int, total: int) -> None:
        if not self._quiet:
            print_note(f"[{number}/{total}] {stage.name}: {command_line(*stage.words)}")

    @override
    def on_stage_end(self, result: StageResult) -> None:
        if result.state == "partial" and not self._quiet:
            follows = "the next stage goes on" if result.stage.on_partial == "continue" else "the run stops here"
            print_note(f"sca: some items failed in {result.stage.name}; {follows}")


def print_list(*, json: bool) -> None:
    """Print the recipes that ship with sca."""
    recipes = [shipped_recipe(name)[0] for name in shipped_names()]
    if json:
        documents = [
            {
                "name": recipe.recipe.name,
                "about": recipe.recipe.about,
                "folder": recipe.recipe.folder,
                "variables": recipe.variables,
                "stages": [stage.label for stage in recipe.stage],
            }
            for recipe in recipes
        ]
        emit_json(documents, "list")
        return
    for recipe in recipes:
        print_line(f"{recipe.recipe.name:<10} {recipe.recipe.about}")
        print_line(f"{'':<10} {' → '.join(stage.label for stage in recipe.stage)}")
        print_line(f"{'':<10} {', '.join(f'{name}={value}' for name, value in recipe.variables.items())}")


def print_results(plan: "Plan", results: Sequence[StageResult], *, json: bool, quiet: bool) -> None:
    """Print what became of the stages.

    Args:
        plan: The recipe.
        results: What became of its stages.
        json: Whether to print a JSON document.
        quiet: Whether to print nothing else.
    """
    if json:
        emit_json({"recipe": plan.head.name, "output": str(plan.folder), "stages": [_document(r) for r in results]})
        return
    if quiet:
        return
    rows = []
    for result in results:
        state = f"failed ({result.exit_code})" if result.state == "failed" else result.state
        ran = result.state in ("done", "partial", "failed")
        rows.append((result.stage.name, state, f"{result.wall_s:.1f} s" if ran else "", result.stage.output or ""))
    print_table(("stage", "state", "time", "output"), rows)


def _document(result: StageResult) -> dict[str, object]:
    return {
        "stage": result.stage.name,
        "command": result.stage.command,
        "state": result.state,
        "exit_code": result.exit_code,
        "seconds": round(result.wall_s, 3),
        "cpu_seconds": None if result.cpu_s is None else round(result.cpu_s, 3),
        "output": result.stage.output,
    }


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of texts in columns as wide as their longest text."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        print_line("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def print_plan(plan: "Plan", chosen: Sequence["PlannedStage"], *, again: bool, json: bool) -> None:
    """Print what a run would do.

    Args:
        plan: The recipe.
        chosen: The stages that are selected.
        again: Whether stages that are done run again.
        json: Whether to print a JSON document.
    """
    from sca.recipes.estimate import estimate

    found = estimate(plan, chosen, again=again)
    if json:
        stages = [_planned(one) for one in found]
        emit_json({"recipe": plan.head.name, "output": str(plan.folder), "stages": stages}, "plan")
        return
    rows = [
        (
            one.stage.name,
            one.state,
            _of(one.todo.items, one.total.items, "{:d}"),
            _of(one.todo.hours, one.total.hours, "{:.2f}"),
            "" if one.state != "to do" else _time(one.time_s) + (" *" if one.is_measured else ""),
            "" if one.state != "to do" or one.bytes is None else _size(one.bytes),
        )
        for one in found
    ]
    print_table(("stage", "state", "items to do", "hours to do", "time", "space"), rows)
    print_line()
    for one in found:
        if one.state == "to do":
            print_line(command_line(*one.stage.words))
    print_line(_sum(plan, found))


def _of(todo: float | None, total: float | None, form: str) -> str:
    """Return `3 of 12`, `12` if all is to do, `?` if unknown."""
    if total is None:
        return "?" if todo is None else form.format(todo)
    if todo is None or todo == total:
        return form.format(total)
    return f"{form.format(todo)} of {form.format(total)}"


def _time(time_s: float | None) -> str:
    if time_s is None:
        return "?"
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{seconds} s"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _sum(plan: "Plan", found: "Sequence[Estimate]") -> str:
    """Return the line with the sums, what is unknown, and the free space."""
    todo = [one for one in found if one.state == "to do"]
    if not todo:
        return "nothing to do"
    times = [one.time_s for one in todo if one.time_s is not None]
    sizes = [one.bytes for one in todo if one.bytes is not None]
    unknown = [one.stage.name for one in todo if one.time_s is None]
    there = next(path for path in (plan.folder, *plan.folder.absolute().parents) if path.is_dir())
    known = f"about {_time(sum(times))}" if times else ""
    parts = [" and ".join(part for part in (known, f"the time of {', '.join(unknown)}" if unknown else "") if part)]
    parts.append(f"{_size(sum(sizes))} of {_size(shutil.disk_usage(there).free)} that are free")
    measured = "; * as measured in earlier runs of this recipe" if any(one.is_measured for one in todo) else ""
    return f"{', '.join(parts)}{measured}"


def _planned(one: "Estimate") -> dict[str, object]:
    return {
        "stage": one.stage.name,
        "state": one.state,
        "command": list(one.stage.words),
        "items": one.total.items,
        "items_to_do": one.todo.items,
        "hours": one.total.hours,
        "hours_to_do": one.todo.hours,
        "seconds": one.time_s,
        "is_measured": one.is_measured,
        "bytes": one.bytes,
    }
