"""`sca doctor`: what is there, what is not, and the command that fixes it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import ConfigFile, Json, settings_from
from sca.errors import MissingToolError

if TYPE_CHECKING:
    from sca.cli.doctor.checks import Check

__all__ = ["doctor", "examine"]

_COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}


def doctor(config: ConfigFile = None, json: Json = False) -> None:
    """Look over this machine: programs, packages, GPU, hub, microphone, disk. Exit 4 when a core command cannot run."""
    cache_dir = settings_from(config).paths.resolved_cache_dir
    checks = examine(cache_dir, Path.cwd())
    gone = [check for check in checks if check.status == "missing"]
    if json:
        plain = [{"name": c.name, "status": c.status, "found": c.found, "fix": c.fix} for c in checks]
        emit_json({"ok": not gone, "checks": plain})
    else:
        _show(checks)
    if gone:
        names = ", ".join(check.name for check in gone)
        raise MissingToolError(f"what core commands need is missing: {names}", hint=gone[0].fix)


def examine(cache_dir: Path, work_dir: Path) -> list["Check"]:
    """All checks, several at a time: some wait for programs or the network."""
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    from sca.cli.doctor.checks import CHECKS, Check
    from sca.cli.doctor.network import cache, disk, hub

    looks: list[Callable[[], Check | list[Check]]] = [*CHECKS, hub, partial(cache, cache_dir), partial(disk, work_dir)]
    with ThreadPoolExecutor(len(looks)) as pool:
        found = [future.result() for future in [pool.submit(look) for look in looks]]
    return [check for one in found for check in (one if isinstance(one, list) else [one])]


def _show(checks: list["Check"]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = out()
    if not console.is_terminal:  # nothing to fold into
        for check in checks:
            console.print(f"{check.status:<8} {check.name:<12} {check.found}", markup=False)
            if check.fix and check.status != "ok":
                console.print(f"{'':<21} → {check.fix}", markup=False)
        return
    table = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(Text(check.status, _COLOURS[check.status]), check.name, Text(check.found))
        if check.fix and check.status != "ok":
            table.add_row("", "", Text(f"→ {check.fix}", "dim"))
    console.print(table)
