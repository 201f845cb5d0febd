"""`sca doctor`: check the machine, with a fix for what is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import settings_options
from sca.errors import ConfigError, MissingToolError

if TYPE_CHECKING:
    from sca.cli.doctor.checks import Check
    from sca.config import Settings

__all__ = ["doctor", "examine"]

_COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}


@settings_options()
def doctor(*, settings: "Settings", settings_error: ConfigError | None, json: Json = False) -> None:
    """Check this machine and show how to fix what is missing: programs, packages, GPU, hub, microphone, disk.

    The exit code is 4 if a core command cannot run. Invalid settings are displayed, with exit code 3, and the other checks
    use the defaults.
    """
    from sca.cli.doctor.checks import settings_valid

    checks = [*examine(settings, Path.cwd()), settings_valid(settings_error)]
    missing = [check for check in checks if check.status == "missing"]
    if json:
        rows = [{"name": c.name, "status": c.status, "found": c.found, "fix": c.fix} for c in checks]
        emit_json({"ok": not missing and settings_error is None, "checks": rows})
    else:
        _show(checks)
    if missing:
        names = ", ".join(check.name for check in missing)
        raise MissingToolError(f"what core commands need is missing: {names}", hint=missing[0].fix)
    if settings_error is not None:
        raise settings_error


def examine(settings: "Settings", work_dir: Path) -> list["Check"]:
    """Run all checks in parallel, because some wait for programs or the network."""
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    from sca.cli.doctor.checks import CHECKS, Check
    from sca.cli.doctor.network import cache, disk, engine, fetched_models, hub, turn_threshold
    from sca.cli.doctor.voices import csm, espeak_ng, llama_cpp

    cache_dir = settings.paths.resolved_cache_dir
    functions: list[Callable[[], Check | list[Check]]] = [
        *CHECKS,
        espeak_ng,
        llama_cpp,
        partial(csm, settings),
        hub,
        partial(cache, cache_dir),
        partial(fetched_models, cache_dir),
        partial(engine, settings),
        partial(turn_threshold, settings),
        partial(disk, work_dir),
    ]
    with ThreadPoolExecutor(len(functions)) as pool:
        results = [future.result() for future in [pool.submit(function) for function in functions]]
    return [check for result in results for check in (result if isinstance(result, list) else [result])]


def _show(checks: list["Check"]) -> None:
    from rich.text import Text

    from sca.cli.shared.terminal import data_table, print_table

    console = out()
    if not console.is_terminal:  # a pipe has no width to fold text to
        for check in checks:
            console.print(f"{check.status:<8} {check.name:<12} {check.found}")
            if check.fix and check.status != "ok":
                console.print(f"{'':<21} → {check.fix}")
        return
    table = data_table("", "", "")
    table.show_header = False
    for column in table.columns[:2]:
        column.no_wrap = True
    for check in checks:
        table.add_row(Text(check.status, _COLOURS[check.status]), check.name, check.found)
        if check.fix and check.status != "ok":
            table.add_row("", "", Text(f"→ {check.fix}", "dim"))
    print_table(table)
