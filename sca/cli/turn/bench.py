"""`sca turn bench`: measure a turn server under load."""

from typing import TYPE_CHECKING, Annotated

from sca.cli.shared.console import emit_json, print_line
from sca.cli.shared.options import Json, count_option, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.load import Target, send_requests
from sca.cli.turn.options import EnvFile, Sample, SampleSeconds, StateDirOption, Url, server_in, server_url
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.turn.client.load_test import LoadTestResult

__all__ = ["bench"]

_DEFAULT_REQUESTS = 100


@settings_options("turn.auth_key", plain_env="turn")
def bench(
    *,
    requests: Annotated[
        int | None,
        count_option(
            "--requests",
            least=1,
            help=f"Number of requests. Not set: {_DEFAULT_REQUESTS}, or unlimited with --seconds.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int, count_option("--concurrency", "-c", least=1, most=1024, help="Number of parallel connections.")
    ] = 1,
    seconds: Annotated[
        float | None, seconds_option("--seconds", least=0.1, help="End after this time.", show_default=False)
    ] = None,
    sample: Sample = None,
    sample_seconds: SampleSeconds = None,
    url: Url = None,
    env_file: EnvFile = None,
    state_dir: StateDirOption = None,
    settings: "Settings",
    as_json: Json = False,
) -> None:
    """Send many requests; print latencies, throughput and errors."""
    if requests is None and seconds is None:
        requests = _DEFAULT_REQUESTS
    given, key = server_in(env_file, settings, url)
    target = Target(server_url(settings, given, state_dir), key, sample, sample_seconds)
    result = send_requests(target, requests, concurrency=concurrency, seconds=seconds)
    if as_json:
        emit_json(result.document() | {"url": target.url})
    else:
        _show(result)
    failed = result.errors.total()
    if failed:
        raise PartialFailure(f"{failed} of {counted(result.requests, 'request')} failed")


def _show(result: "LoadTestResult") -> None:
    document = result.document()
    print_line(
        f"{result.answered} of {counted(result.requests, 'request')} answered in {result.wall_s:.1f} s"
        f" over {counted(result.concurrency, 'connection')}: {document['requests_per_s']:g} per second"
    )
    print_line(
        f"p50 {document['p50_ms']:g} ms, p95 {document['p95_ms']:g} ms, p99 {document['p99_ms']:g} ms,"
        f" longest {document['max_ms']:g} ms"
    )
    print_line(f"probability {document['probability']:.3f}")
    for message, count in result.errors.items():
        print_line(f"{count} failed: {message}")
