"""`sca turn stop`: stop the turn server in the background."""

from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, print_line
from sca.cli.shared.options import Json, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import StateDirOption, state_dir_from

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["stop"]


@settings_options(plain_env="turn")
def stop(
    *,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Also remove its log and the other files that sca created in its folder."),
    ] = False,
    grace_s: Annotated[float, seconds_option("--grace-s", help="Time to end before the server is killed.")] = 10.0,
    state_dir: StateDirOption = None,
    settings: "Settings",
    json: Json = False,
) -> None:
    """Stop the server that `start` started. It is not an error if none is running."""
    from sca.infer.turn.daemon import control

    place = state_dir_from(settings, state_dir)
    stopped = control.stop(place, grace_s) if place.path.is_dir() else control.StopResult(None)
    removed = place.purge() if purge else []
    if json:
        process = None if stopped.server is None else stopped.server.pid
        emit_json({"process": process, "killed": stopped.killed, "removed": [str(path) for path in removed]})
        return
    if stopped.server is None:
        print_line("no turn server runs here")
    elif stopped.killed:
        print_line(f"process {stopped.server.pid} did not end within {grace_s:g} s and was killed")
    else:
        print_line(f"process {stopped.server.pid} has ended")
    for path in removed:
        print_line(f"removed {path}")
