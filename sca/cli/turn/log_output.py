"""Printing the log of a turn server as it grows."""

from contextlib import suppress
from typing import TYPE_CHECKING

from sca.cli.shared.console import print_text

if TYPE_CHECKING:
    from sca.infer.turn.daemon.state_dir import StateDir

__all__ = ["follow_log"]


def follow_log(place: "StateDir") -> None:
    """Print the log as it grows, until Ctrl-C or until the server ends."""
    from sca.infer.turn.daemon.log_rotation import follow

    with suppress(KeyboardInterrupt):  # the usual way to end it
        for text in follow(place.log, place.is_active):
            print_text(text)
