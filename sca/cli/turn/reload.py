"""`sca turn reload`: let the turn server in the background read its settings again."""

from typing import TYPE_CHECKING

from sca.cli.shared.console import emit_json, print_line
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import StateDirOption, state_dir_from

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["reload"]


@settings_options(plain_env="turn")
def reload(*, state_dir: StateDirOption = None, settings: "Settings", json: Json = False) -> None:
    """Let the server that `start` started read its settings file again, and print what changed.

    Options and environment variables of `start` remain, and win over the file.
    """
    from sca.infer.turn.daemon import control

    changes = control.reload(state_dir_from(settings, state_dir))
    if json:
        emit_json({"changes": changes})
    else:
        print_line(changes)
