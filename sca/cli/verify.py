"""`sca verify`: recompute the proof of a data set from its files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import ConfigFile, Json, Quiet, SetValues, settings_from
from sca.cli.shared.progress import audio_progress
from sca.errors import VerificationError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.duplex.verify.check_table import Verification

__all__ = ["show_verification", "verify"]

_PROBLEMS_SHOWN = 20


def verify(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="A data set made by sca build-duplex.")],
    config: ConfigFile = None,
    set_values: SetValues = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recompute the proof of a duplex data set from its files; exit 5 and the list where anything is broken."""
    from sca.data.duplex.verify.dataset import verify as prove

    settings = settings_from(config, set_values)
    with audio_progress("sessions", quiet=quiet) as progress:
        outcome = prove(
            data, cache_dir=settings.paths.resolved_cache_dir, on_start=progress.start, on_session=progress.advance
        )
    if json:
        report = None if outcome.report is None else outcome.report.model_dump(mode="json")
        checks = [{"name": c.name, "found": c.found, "holds": c.holds} for c in outcome.checks]
        emit_json(
            {
                "data": str(data),
                "holds": outcome.holds,
                "problems": outcome.problems,
                "checks": checks,
                "report": report,
            }
        )
    else:
        show_verification(outcome)
    if not outcome.holds:
        raise VerificationError(
            f"{data} is broken in {counted(len(outcome.problems), 'place')}: {outcome.problems[0]}",
            hint="build it again with sca build-duplex --force, or restore the files",
        )


def show_verification(outcome: "Verification") -> None:
    """The checks as a table, then what is broken."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("", "checked", "found"):
        table.add_column(heading)
    for check in outcome.checks:
        table.add_row("[green]ok[/]" if check.holds else "[red]broken[/]", check.name, check.found)
    console = out()
    console.print(table)
    for problem in outcome.problems[:_PROBLEMS_SHOWN]:
        console.print(f"broken: {problem}", markup=False)
    if len(outcome.problems) > _PROBLEMS_SHOWN:
        console.print(f"… and {len(outcome.problems) - _PROBLEMS_SHOWN} more (--json prints all)", markup=False)
