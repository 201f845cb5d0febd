"""`sca turn warmup`: send a few requests to a turn server."""

from typing import TYPE_CHECKING, Annotated

from sca.cli.shared.options import count_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.load import WARMUP_REQUESTS, warm_up
from sca.cli.turn.options import Sample, StateDirOption, Url, auth_key, server_url

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["warmup"]


@settings_options("turn.auth_key", turn_env=True)
def warmup(
    *,
    requests: Annotated[int, count_option("--requests", least=1, help="Number of requests.")] = WARMUP_REQUESTS,
    sample: Sample = None,
    url: Url = None,
    state_dir: StateDirOption = None,
    settings: "Settings",
) -> None:
    """Send a few requests, so that the first request in use is not slower than the others."""
    warm_up(server_url(settings, url, state_dir), auth_key(settings), sample, requests)
