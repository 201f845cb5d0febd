"""Options that several commands of `sca turn` share, and what they resolve to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.turn.daemon.state_dir import StateDir

__all__ = ["Sample", "StateDirOption", "Url", "auth_key", "server_url", "state_dir_from"]

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
    return settings.turn.auth_key.get_secret_value() if settings.turn.auth_key is not None else None
