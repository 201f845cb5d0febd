"""`sca eval reactions`: compare detected audience reactions with marked ones."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, print_note
from sca.cli.shared.options import Json
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.reactions.evaluate import Evaluation

__all__ = ["reactions"]


def reactions(
    predicted: Annotated[Path, typer.Argument(metavar="PRED.jsonl", help="Timelines written by sca transcribe.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.jsonl", help="The same timelines, marked by hand.")],
    tolerance: Annotated[
        float, typer.Option(metavar="SECONDS", help="Largest difference of the starts, and of the ends, of a match.")
    ] = 0.5,
    as_json: Json = False,
) -> None:
    """Print the event F1 of each audience reaction; an event matches once, if start and end are within the tolerance.

    `all` is the sum of the reactions; `any` matches events of different reactions too.
    """
    from sca.data.reactions.evaluate import compare, read_timelines

    if not 0 <= tolerance < math.inf:
        raise UsageError(f"--tolerance is {tolerance:g}, not a number of seconds", hint="give 0 or more, such as 0.5")

    files = {path: read_timelines(path) for path in (predicted, truth)}
    result = compare(files[predicted].shows, files[truth].shows, collar_s=tolerance)
    broken = [f"{path}: {line}" for path, file in files.items() for line in file.broken]
    if as_json:
        emit_json(
            {
                "collar_s": tolerance,
                "shows": result.shows,
                "classes": {name: counts.measures() for name, counts in result.classes.items()},
                "all": result.total.measures(),
                "any": result.any.measures(),
                "not_predicted": result.missed,
                "not_in_truth": result.unmarked,
                "broken": broken,
            }
        )
    else:
        _show(result)
    for name in result.missed:
        print_note(f"{name}: no prediction; its events count as missed")
    for name in result.unmarked:
        print_note(f"{name}: not in {truth}; it is not counted")
    for line in broken:
        print_note(f"ignored: {line}")
    if broken:
        raise PartialFailure(
            f"{counted(len(broken), 'line')} could not be read", hint="repair them; the others were compared"
        )


def _show(result: "Evaluation") -> None:
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table("reaction", "F1", "precision", "recall", "found", "predicted", "true")
    for name, counts in [*result.classes.items(), ("all", result.total), ("any", result.any)]:
        values = counts.measures()
        ratios = ["-" if values[key] is None else f"{values[key]:.3f}" for key in ("f1", "precision", "recall")]
        table.add_row(name, *ratios, str(counts.found), str(counts.predicted), str(counts.true))
    print_table(table)
