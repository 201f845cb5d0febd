"""The result of a verification as a table."""

from typing import TYPE_CHECKING

from sca.cli.shared.console import out

if TYPE_CHECKING:
    from sca.data.duplex.verify.check_table import Verification

__all__ = ["show_verification"]

_PROBLEMS_SHOWN = 20


def show_verification(verification: "Verification") -> None:
    """Print the checks as a table, then the problems."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("", "checked", "found"):
        table.add_column(heading)
    for check in verification.checks:
        table.add_row("[green]ok[/]" if check.holds else "[red]broken[/]", check.name, check.found)
    console = out()
    console.print(table)
    for problem in verification.problems[:_PROBLEMS_SHOWN]:
        console.print(f"broken: {problem}", markup=False)
    if len(verification.problems) > _PROBLEMS_SHOWN:
        console.print(f"… and {len(verification.problems) - _PROBLEMS_SHOWN} more (--json prints all)", markup=False)
