"""`sca turn logs`: show the log of the turn server in the background."""

from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, print_note, print_text
from sca.cli.shared.options import Json, count_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.log_output import follow_log
from sca.cli.turn.options import StateDirOption, state_dir_from
from sca.errors import UsageError

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["logs"]


@settings_options(plain_env="turn")
def logs(
    *,
    lines: Annotated[int, count_option("--lines", "-n", help="Number of last lines to show.")] = 20,
    tail: Annotated[
        bool,
        typer.Option("--tail", "--follow", "-f", help="Continue as it grows, until Ctrl-C or until the server ends."),
    ] = False,
    state_dir: StateDirOption = None,
    settings: "Settings",
    json: Json = False,
) -> None:
    """Show the log of the server that `start` started."""
    from sca.infer.turn.daemon import log_rotation

    if json and tail:
        raise UsageError("--json prints one document, and --tail does not end", hint="leave one of them out")
    place = state_dir_from(settings, state_dir)
    last = log_rotation.tail(place.log, lines)
    if not last and not place.log.exists() and not tail:
        print_note(f"no log exists yet: {place.log}")
    if json:
        emit_json({"log": str(place.log), "lines": last})
        return
    print_text("".join(f"{line}\n" for line in last))
    if tail:
        follow_log(place)
