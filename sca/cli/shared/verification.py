"""The result of a verification as a table."""

from typing import TYPE_CHECKING

from sca.cli.shared.console import out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from sca.data.duplex.model.evidence import Finding
    from sca.data.duplex.verify.check_table import Check, Verification

__all__ = ["show_findings", "show_verification"]

_PROBLEMS_SHOWN = 20
_FINDINGS_SHOWN = 10


def show_verification(verification: "Verification") -> None:
    """Print the checks as a table, then the problems."""
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table("", "checked", "found")
    for check in verification.checks:
        table.add_row(_verdict(check), check.name, check.found)
    print_table(table)
    console = out()
    show_findings(verification.findings)
    for problem in verification.problems[:_PROBLEMS_SHOWN]:
        console.print(f"broken: {problem}")
    if len(verification.problems) > _PROBLEMS_SHOWN:
        console.print(f"… and {len(verification.problems) - _PROBLEMS_SHOWN} more (--json prints all)")


def show_findings(findings: "Sequence[Finding]") -> None:
    """Print the worst places to look at."""
    console = out()
    for finding in findings[:_FINDINGS_SHOWN]:
        console.print(f"look here: {finding}")
        if finding.repair:
            console.print(f"  repair: {finding.repair} (build again with --repair apply)")
    if len(findings) > _FINDINGS_SHOWN:
        console.print(f"… and {len(findings) - _FINDINGS_SHOWN} more (report.json has all)")


def _verdict(check: "Check") -> "Text":
    from rich.text import Text

    if not check.holds:
        return Text("broken", "red")
    return Text("look", "yellow") if check.look else Text("ok", "green")
