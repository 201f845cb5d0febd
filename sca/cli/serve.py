"""`sca serve`: serve live sessions of an engine over the network."""

from typing import TYPE_CHECKING

from sca.cli.shared.options import Insecure
from sca.cli.shared.settings_options import settings_options

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["serve"]


@settings_options(
    "live.engine",
    "vllm.base_url",
    "serve.host",
    "serve.port",
    "serve.max_sessions",
    "serve.drain_s",
    "serve.auth_key",
    "serve.tls_cert",
    "serve.tls_key",
    "serve.log_format",
    "serve.log_level",
)
def serve(*, settings: "Settings", insecure: Insecure = False) -> None:
    """Serve live sessions of an engine over the network, with keys and limits.

    Routes: a web page, the WebSockets /ws/pcm16, /v1/realtime and /twilio, POST /infer_wav, and GET /metrics.
    """
    from sca.infer.server.app import run

    run(settings, insecure=insecure)
