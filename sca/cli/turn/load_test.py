"""`sca turn warmup|bench`: ask a turn server often, and see how it does."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import ConfigFile, Json, SetValues
from sca.cli.turn.daemon import StateDirOption, place_of
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["AuthKey", "Url", "bench", "key_of", "warm_up", "warmup"]

_WARMUP_REQUESTS = 3

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server's address, such as http://127.0.0.1:8000."),
]
AuthKey = Annotated[
    str | None,
    typer.Option(
        "--auth-key", metavar="KEY", help="The server's key. AUTH_KEY in the environment keeps it out of `ps`."
    ),
]
Sample = Annotated[
    Path | None,
    typer.Option(
        "--sample", metavar="FILE", help="Send the end of this sound file; speech that sca brings if not given."
    ),
]


def warmup(
    requests: Annotated[int, typer.Option("--requests", min=1, metavar="N", help="Ask this often.")] = _WARMUP_REQUESTS,
    sample: Sample = None,
    url: Url = None,
    auth_key: AuthKey = None,
    state_dir: StateDirOption = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
) -> None:
    """Ask a server a few times, so that the first one who needs an answer does not wait longer than others."""
    from sca.cli.turn.command import turn_settings

    settings = turn_settings(config, set_values)
    warm_up(_url(settings, url, state_dir), key_of(settings, auth_key), sample, requests)


def bench(
    requests: Annotated[
        int | None, typer.Option("--requests", min=1, metavar="N", help="Send this many; 100 without --seconds.")
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", "-c", min=1, max=1024, metavar="N", help="Connections that ask side by side."),
    ] = 1,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, metavar="S", help="End after this time.")
    ] = None,
    sample: Sample = None,
    url: Url = None,
    auth_key: AuthKey = None,
    state_dir: StateDirOption = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    as_json: Json = False,
) -> None:
    """Ask a server often; print how long answers took, how many a second there were, and what went wrong."""
    from sca.cli.turn.command import turn_settings

    settings = turn_settings(config, set_values)
    if requests is None and seconds is None:
        requests = 100
    address, key = _url(settings, url, state_dir), key_of(settings, auth_key)
    document = _load(address, key, sample, concurrency, requests, seconds)
    if as_json:
        emit_json(document)
    else:
        _show(document)
    if document["errors"]:
        failed = document["requests"] - document["answered"]
        raise PartialFailure(f"{failed} of {counted(document['requests'], 'request')} failed")


def _url(settings: "Settings", url: str | None, state_dir: Path | None) -> str:
    """The address given, else that of the server that `start` started, else where the settings have one."""
    from sca.infer.turn.daemon.control import address

    if url is not None:
        return url
    running = place_of(settings, state_dir).running()
    return running.url if running is not None else address(settings.turn.host, settings.turn.port)


def key_of(settings: "Settings", auth_key: str | None) -> str | None:
    """The key that was given, else the one in the settings."""
    if auth_key is not None:
        return auth_key
    return settings.turn.auth_key.get_secret_value() if settings.turn.auth_key is not None else None


def _load(
    url: str, key: str | None, sample: Path | None, concurrency: int, requests: int | None, seconds: float | None
) -> dict[str, Any]:
    """Ask, and return what it was like; raise when nothing was answered."""
    from sca.infer.turn.client import TurnClient
    from sca.infer.turn.client.load_test import end_of, run_load, shipped_speech

    samples = shipped_speech() if sample is None else end_of(sample)
    result = run_load(
        lambda: TurnClient(url, key, timeout_s=10.0),
        samples,
        concurrency=concurrency,
        requests=requests,
        seconds=seconds,
    )
    if not result.latencies_s and result.first_error is not None:
        raise result.first_error
    return result.document() | {"url": url}


def warm_up(url: str, key: str | None, sample: Path | None = None, requests: int = _WARMUP_REQUESTS) -> None:
    """Ask a few times, and say on stderr how long it took."""
    document = _load(url, key, sample, 1, requests, None)
    sys.stderr.write(
        f"warm: {document['answered']} of {counted(requests, 'request')} answered, the slowest in {document['max_ms']:g} ms\n"
    )


def _show(document: dict[str, Any]) -> None:
    sys.stdout.write(
        f"{document['answered']} of {counted(document['requests'], 'request')} answered in {document['wall_s']:.1f} s"
        f" over {counted(document['concurrency'], 'connection')}: {document['requests_per_s']:g} a second\n"
        f"p50 {document['p50_ms']:g} ms, p95 {document['p95_ms']:g} ms, p99 {document['p99_ms']:g} ms,"
        f" longest {document['max_ms']:g} ms\n"
        f"probability {document['probability']:.3f}\n"
    )
    for said, count in document["errors"].items():
        sys.stdout.write(f"{count} failed: {said}\n")
