"""`sca turn start|stop|logs`: a turn server in the background."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.options import ConfigFile, Host, Port, SetValues

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.turn.daemon.state_dir import StateDir

__all__ = ["StateDirOption", "logs", "place_of", "start", "stop"]

_MARK = "turn serve"

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="Where the server's record and log are; turn in the cache folder if not given.",
        show_default=False,
    ),
]
Lines = Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="Show this many of the last lines.")]


def start(
    context: typer.Context,
    host: Host = None,
    port: Port = None,
    warm: Annotated[bool, typer.Option("--warmup/--no-warmup", help="Ask a few times once it is ready.")] = True,
    tail: Annotated[bool, typer.Option("--tail", help="Then show its log as it grows, until Ctrl-C.")] = False,
    ready_s: Annotated[float, typer.Option("--ready-s", min=0.1, metavar="S", help="The longest wait for it.")] = 120.0,
    log_bytes: Annotated[
        int, typer.Option("--log-bytes", min=1, metavar="BYTES", help="A log file of this size is put aside.")
    ] = 10_000_000,
    log_files: Annotated[
        int, typer.Option("--log-files", min=0, metavar="N", help="Keep this many of those put aside.")
    ] = 4,
    state_dir: StateDirOption = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
) -> None:
    """Start the server in the background and wait until it answers.

    Every other option is handed to `sca turn serve`. Prints its address and process.
    """
    from sca.cli.turn.command import turn_settings
    from sca.cli.turn.load_test import key_of, warm_up
    from sca.infer.turn.daemon import control

    settings = turn_settings(config, set_values, {"turn.host": host, "turn.port": port})
    place = place_of(settings, state_dir)
    if place.stale():
        sys.stderr.write("the server that was started here before does not run any more; its record is dropped\n")
    command = [sys.executable, "-m", "sca", *_MARK.split(), *context.args]
    command += ["--config", str(config)] if config is not None else []
    command += [word for pair in set_values or [] for word in ("--set", pair)]
    service = control.Service(command, _MARK, settings.turn.host, settings.turn.port)
    server = control.start(service, place, ready_s, control.LogLimits(log_bytes, log_files))
    sys.stdout.write(f"{server.url} process {server.pid}, log {place.log}\n")
    if warm:
        warm_up(server.url, key_of(settings, _given_key(context.args)))
    if tail:
        _follow(place)


def stop(
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Also remove its log and whatever else sca made in its folder; nothing else."),
    ] = False,
    grace_s: Annotated[
        float, typer.Option("--grace-s", min=0, metavar="S", help="How long it may take before it is killed.")
    ] = 10.0,
    state_dir: StateDirOption = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
) -> None:
    """Stop the server that `start` started. That none runs is no error."""
    from sca.cli.turn.command import turn_settings
    from sca.infer.turn.daemon import control

    place = place_of(turn_settings(config, set_values), state_dir)
    stopped = control.stop(place, grace_s) if place.folder.is_dir() else control.Stopped(None)
    if stopped.server is None:
        sys.stdout.write("no turn server runs here\n")
    elif stopped.killed:
        sys.stdout.write(f"process {stopped.server.pid} did not end within {grace_s:g} s and was killed\n")
    else:
        sys.stdout.write(f"process {stopped.server.pid} has ended\n")
    if purge:
        for path in place.purge():
            sys.stdout.write(f"removed {path}\n")


def logs(
    lines: Lines = 20,
    tail: Annotated[
        bool, typer.Option("--tail", "--follow", "-f", help="Go on as it grows, until Ctrl-C or the server ends.")
    ] = False,
    state_dir: StateDirOption = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
) -> None:
    """Show the log of the server that `start` started."""
    from sca.cli.turn.command import turn_settings
    from sca.infer.turn.daemon import log_rotation

    place = place_of(turn_settings(config, set_values), state_dir)
    said = log_rotation.tail(place.log, lines)
    if not said and not place.log.exists() and not tail:
        sys.stderr.write(f"there is no log yet: {place.log}\n")
    sys.stdout.writelines(f"{line}\n" for line in said)
    sys.stdout.flush()
    if tail:
        _follow(place)


def place_of(settings: "Settings", state_dir: Path | None) -> "StateDir":
    """The folder that a server's record and log are in."""
    from sca.infer.turn.daemon.state_dir import StateDir

    return StateDir(state_dir if state_dir is not None else settings.paths.resolved_cache_dir / "turn")


def _follow(place: "StateDir") -> None:
    from sca.infer.turn.daemon.log_rotation import follow

    with suppress(KeyboardInterrupt):  # the usual way to end it
        for said in follow(place.log, place.active):
            sys.stdout.write(said)
            sys.stdout.flush()


def _given_key(words: list[str]) -> str | None:
    """The key among options that are handed to `serve`."""
    for word, after in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name == "--auth-key":
            return value if equals else after
    return None
