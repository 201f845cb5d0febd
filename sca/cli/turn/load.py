"""Requests to a turn server, in numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.cli.shared.console import print_note
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.infer.turn.client.load_test import LoadTestResult

__all__ = ["WARMUP_REQUESTS", "Target", "send_requests", "warm_up"]

WARMUP_REQUESTS = 3
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the audio it is sent.

    Attributes:
        url: The server's address.
        key: The server's key.
        sample: The audio file; None for speech included with sca.
        sample_s: Its length in seconds: the end, with zeros before it if it is shorter. None: 8 s, or less.
    """

    url: str
    key: str | None
    sample: Path | None = None
    sample_s: float | None = None


def send_requests(
    target: Target, requests: int | None, *, concurrency: int = 1, seconds: float | None = None
) -> "LoadTestResult":
    """Send requests and return the measurements. Raises the first error if no request was answered."""
    from sca.infer.turn.client import TurnClient
    from sca.infer.turn.client.load_test import run_load_test, sample_of

    samples = sample_of(target.sample, target.sample_s)
    result = run_load_test(
        lambda: TurnClient(target.url, target.key, timeout_s=_TIMEOUT_S),
        samples,
        concurrency=concurrency,
        requests=requests,
        seconds=seconds,
    )
    if not result.latencies_s and result.first_error is not None:
        raise result.first_error
    return result


def warm_up(target: Target, requests: int = WARMUP_REQUESTS) -> "LoadTestResult":
    """Send a few requests, print on stderr how long they took, and return the measurements."""
    result = send_requests(target, requests)
    print_note(
        f"warm: {result.answered} of {counted(requests, 'request')} answered, the slowest in {result.percentile_ms(100):g} ms"
    )
    return result
