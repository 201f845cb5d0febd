"""`sca turn warmup`: send a few requests to a turn server."""

from typing import TYPE_CHECKING, Annotated

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import Json, count_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.load import WARMUP_REQUESTS, Target, warm_up
from sca.cli.turn.options import EnvFile, Sample, SampleSeconds, StateDirOption, Url, server_in, server_url

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["warmup"]


@settings_options("turn.auth_key", plain_env="turn")
def warmup(
    *,
    requests: Annotated[int, count_option("--requests", least=1, help="Number of requests.")] = WARMUP_REQUESTS,
    sample: Sample = None,
    sample_seconds: SampleSeconds = None,
    url: Url = None,
    env_file: EnvFile = None,
    state_dir: StateDirOption = None,
    settings: "Settings",
    as_json: Json = False,
) -> None:
    """Send a few requests, so that the first request in use is not slower than the others."""
    given, key = server_in(env_file, settings, url)
    target = Target(server_url(settings, given, state_dir), key, sample, sample_seconds)
    result = warm_up(target, requests)
    if as_json:
        emit_json(result.document() | {"url": target.url})
