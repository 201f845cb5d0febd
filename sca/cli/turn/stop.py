"""`sca turn stop`: stop the turn server in the background."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.options import seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import StateDirOption, state_dir_from

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["stop"]


@settings_options(turn_env=True)
def stop(
    *,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Also remove its log and the other files that sca created in its folder."),
    ] = False,
    grace_s: Annotated[float, seconds_option("--grace-s", help="Time to end before the server is killed.")] = 10.0,
    state_dir: StateDirOption = None,
    settings: "Settings",
) -> None:
    """Stop the server that `start` started. It is not an error if none is running."""
    from sca.infer.turn.daemon import control

    place = state_dir_from(settings, state_dir)
    stopped = control.stop(place, grace_s) if place.path.is_dir() else control.StopResult(None)
    if stopped.server is None:
        sys.stdout.write("no turn server runs here\n")
    elif stopped.killed:
        sys.stdout.write(f"process {stopped.server.pid} did not end within {grace_s:g} s and was killed\n")
    else:
        sys.stdout.write(f"process {stopped.server.pid} has ended\n")
    if purge:
        for path in place.purge():
            sys.stdout.write(f"removed {path}\n")
