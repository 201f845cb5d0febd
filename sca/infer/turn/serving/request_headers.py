"""The headers of a request to `/raw`: sample rate, threshold, the time that the client waits, content type."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sca.infer.server.core.errors import RequestRejectedError
from sca.units import HEARD_HZ, MAX_SECONDS

__all__ = ["RequestHeaders", "read_headers"]

_CONTENT_TYPES = ("", "application/octet-stream", "application/x-npy")
_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 192_000


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """What the headers of a request ask for.

    Attributes:
        rate_hz: The sample rate of the audio.
        threshold: The threshold of this request; None for that of the server.
        timeout_s: How long the client waits for the response; infinite if it did not say.
    """

    rate_hz: int = HEARD_HZ
    threshold: float | None = None
    timeout_s: float = math.inf


def read_headers(headers: Mapping[str, str]) -> RequestHeaders:
    """Return what the headers of a request ask for, and check its content type.

    Raises:
        RequestRejectedError: A header is not valid.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise RequestRejectedError(415, f"content type {content_type[:80]!r}; send application/octet-stream")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRejectedError(415, "compressed bodies are not supported; send the bytes of np.save as they are")
    threshold = _number(headers, "X-Threshold", 0, 1)
    timeout_s = _number(headers, "X-Timeout", 0, MAX_SECONDS)
    return RequestHeaders(
        _parse_rate(headers.get("x-sample-rate")), threshold, math.inf if timeout_s is None else timeout_s
    )


def _parse_rate(text: str | None) -> int:
    if text is None:
        return HEARD_HZ
    rate_hz = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise RequestRejectedError(
            422, f"X-Sample-Rate must be a whole number of Hz in {_MIN_RATE_HZ}-{_MAX_RATE_HZ}, got {text[:40]!r}"
        )
    return rate_hz


def _number(headers: Mapping[str, str], name: str, least: float, most: float) -> float | None:
    text = headers.get(name.lower())
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:  # also true for NaN
        raise RequestRejectedError(422, f"{name} must be a number in {least:g}-{most:g}, got {text[:40]!r}")
    return number
