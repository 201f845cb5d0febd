"""`sca turn serve`: serve the end-of-turn model over HTTP."""

from typing import TYPE_CHECKING

from sca.cli.shared.options import Insecure
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import SERVER_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sca.config import Settings

__all__ = ["serve"]


@settings_options(*SERVER_SETTINGS, plain_env="turn")
def serve(*, settings: "Settings", reload_settings: "Callable[[], Settings]", insecure: Insecure = False) -> None:
    """Serve the model over HTTP: POST /raw, GET /health, /ready, /status, /metrics. SIGHUP reloads settings."""
    from sca.infer.turn.serving.server import run

    run(settings, reload_settings, insecure=insecure)
