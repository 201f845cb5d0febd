"""`sca turn start`: start a turn server in the background."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, print_line, print_note
from sca.cli.shared.options import Insecure, Json, count_option, seconds_option
from sca.cli.shared.settings_options import is_given, settings_options
from sca.cli.turn.load import Target, warm_up
from sca.cli.turn.log_output import follow_log
from sca.cli.turn.options import SERVER_SETTINGS, Sample, SampleSeconds, StateDirOption, auth_key, state_dir_from

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["start"]

_MARK = "turn serve"


@settings_options(*SERVER_SETTINGS, plain_env="turn")
def start(
    context: typer.Context,
    *,
    warm: Annotated[bool, typer.Option("--warmup/--no-warmup", help="Send a few requests once it is ready.")] = True,
    sample: Sample = None,
    sample_seconds: SampleSeconds = None,
    tail: Annotated[bool, typer.Option("--tail", help="Then show its log as it grows, until Ctrl-C.")] = False,
    ready_s: Annotated[
        float, seconds_option("--ready-s", least=0.1, help="Time limit until the server is ready.")
    ] = 120.0,
    log_bytes: Annotated[
        int, typer.Option("--log-bytes", min=1, max=2**40, metavar="BYTES", help="Size at which the log is rotated.")
    ] = 10_000_000,
    log_files: Annotated[int, count_option("--log-files", most=1000, help="Number of rotated log files to keep.")] = 4,
    state_dir: StateDirOption = None,
    insecure: Insecure = False,
    settings: "Settings",
    json: Json = False,
) -> None:
    """Start the server in the background and wait until it answers.

    Prints the address and the process id.
    """
    from sca.infer.turn.ceiling import threshold_warning
    from sca.infer.turn.daemon import control

    warning = threshold_warning(settings.turn)
    if warning is not None:
        print_note(f"{warning}")
    place = state_dir_from(settings, state_dir)
    if place.is_stale():
        print_note("the server that was started here is no longer running; its record is removed")
    command = [sys.executable, "-m", "sca", *_MARK.split(), *_server_options(context)]
    command += ["--insecure"] if insecure else []
    command += ["--config", str(context.params["config"])] if context.params["config"] is not None else []
    command += [word for pair in context.params["set_values"] or [] for word in ("--set", pair)]
    service = control.ServerCommand(command, _MARK, settings.turn.host, settings.turn.port)
    server = control.start(service, place, ready_s, control.LogLimits(log_bytes, log_files))
    if json:
        emit_json({"url": server.url, "process": server.pid, "log": str(place.log)})
    else:
        print_line(f"{server.url} process {server.pid}, log {place.log}")
    if warm:
        warm_up(Target(server.url, auth_key(settings), sample, sample_seconds))
    if tail:
        follow_log(place)


def _server_options(context: typer.Context) -> list[str]:
    """Return the options that were given and are those of the server, but for its address."""
    sections = {name.replace(".", "__") for name in SERVER_SETTINGS} - {"turn__host", "turn__port"}
    given = [
        (parameter.opts[0], context.params[parameter.name])
        for parameter in context.command.params
        if parameter.name in sections and is_given(context, parameter.name)
    ]
    return [f"{option}={value}" for option, value in given]
