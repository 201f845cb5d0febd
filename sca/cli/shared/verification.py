"""The result of a verification as a table."""

from typing import TYPE_CHECKING

from sca.cli.shared.console import out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sca.data.duplex.model.evidence import Finding
    from sca.data.duplex.verify.check_table import Check, Verification

__all__ = ["show_findings", "show_verification"]

_PROBLEMS_SHOWN = 20
_FINDINGS_SHOWN = 10


def show_verification(verification: "Verification") -> None:
    """Print the checks as a table, then the problems."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("", "checked", "found"):
        table.add_column(heading)
    for check in verification.checks:
        table.add_row(_verdict(check), check.name, check.found)
    console = out()
    console.print(table)
    show_findings(verification.findings)
    for problem in verification.problems[:_PROBLEMS_SHOWN]:
        console.print(f"broken: {problem}", markup=False)
    if len(verification.problems) > _PROBLEMS_SHOWN:
        console.print(f"… and {len(verification.problems) - _PROBLEMS_SHOWN} more (--json prints all)", markup=False)


def show_findings(findings: "Sequence[Finding]") -> None:
    """Print the worst places to look at."""
    console = out()
    for finding in findings[:_FINDINGS_SHOWN]:
        console.print(f"look here: {finding}", markup=False)
        if finding.repair:
            console.print(f"  repair: {finding.repair} (build again with --repair apply)", markup=False)
    if len(findings) > _FINDINGS_SHOWN:
        console.print(f"… and {len(findings) - _FINDINGS_SHOWN} more (report.json has all)", markup=False)


def _verdict(check: "Check") -> str:
    if not check.holds:
        return "[red]broken[/]"
    return "[yellow]look[/]" if check.look else "[green]ok[/]"
