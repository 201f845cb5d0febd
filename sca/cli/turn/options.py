"""Options that several commands of `sca turn` share, and what they resolve to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.options import seconds_option
from sca.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.turn.daemon.state_dir import StateDir

__all__ = [
    "SERVER_SETTINGS",
    "EnvFile",
    "Sample",
    "SampleSeconds",
    "StateDirOption",
    "Url",
    "auth_key",
    "server_in",
    "server_url",
    "state_dir_from",
]

SERVER_SETTINGS = (
    "turn.host",
    "turn.port",
    "turn.model_id",
    "turn.device",
    "turn.auth_key",
    "turn.threshold",
    "turn.pool",
    "turn.log_format",
    "turn.log_level",
)
"""The settings that are options of a turn server, in the foreground and in the background."""

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="Folder of the server's record and log. Not set: turn in the cache folder.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Address of a server, such as http://127.0.0.1:8000.", show_default=False
    ),
]
Sample = Annotated[
    Path | None,
    typer.Option(
        "--sample",
        metavar="FILE",
        help="Audio file whose end is sent. Not set: speech included with sca.",
        show_default=False,
    ),
]
SampleSeconds = Annotated[
    float | None,
    seconds_option(
        "--sample-seconds",
        least=0.1,
        most=600,
        help="Length of the sample: its end is sent, with silence before it if it is shorter. Not set: 8, or less.",
        show_default=False,
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        help="File with the server and its key: RUNPOD_TCP_HOST, RUNPOD_TCP_PORT, AUTH_KEY. Options win over it.",
        show_default=False,
    ),
]


def state_dir_from(settings: "Settings", given: Path | None) -> "StateDir":
    """Return the folder of a server's record and log."""
    from sca.infer.turn.daemon.state_dir import StateDir

    return StateDir(given if given is not None else settings.paths.resolved_cache_dir / "turn")


def server_url(settings: "Settings", url: str | None, state_dir: Path | None) -> str:
    """Return the given address, else that of the server that `start` started, else the one in the settings."""
    from sca.infer.turn.daemon import control

    if url is not None:
        return url
    running = state_dir_from(settings, state_dir).running()
    return running.url if running is not None else control.server_url(settings.turn.host, settings.turn.port)


def auth_key(settings: "Settings") -> str | None:
    """Return the server's key."""
    from sca.config import secret_text

    return secret_text(settings.turn.auth_key)


def server_in(env_file: Path | None, settings: "Settings", url: str | None) -> tuple[str | None, str | None]:
    """Return the address and the key of a server: as options give them, else as the file does, else from the settings.

    Args:
        env_file: See `EnvFile`.
        settings: The settings.
        url: The address that was given as an option.

    Returns:
        The address, or None if neither names it, and the key.

    Raises:
        UsageError: The file cannot be read.
        ConfigError: The port in the file is not a port.
    """
    key = auth_key(settings)
    if env_file is None:
        return url, key
    found = _read_env(env_file)
    if settings.origin("turn.auth_key") != "command line --auth-key":
        key = found.get("AUTH_KEY") or key
    host, port = found.get("RUNPOD_TCP_HOST"), found.get("RUNPOD_TCP_PORT") or str(settings.turn.port)
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ConfigError(f"file {env_file}: RUNPOD_TCP_PORT should be a port from 1 to 65535, got {port!r}")
    if url is None and host:
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return url, key


def _read_env(path: Path) -> dict[str, str | None]:
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8-sig") as file:
            return dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"--env-file {path} cannot be read: {cause}") from error
