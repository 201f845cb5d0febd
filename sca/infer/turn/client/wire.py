"""Requests and responses of a turn server, for clients with any HTTP library. Needs numpy and pydantic only.

a failure                                              exception         exit code
connection refused or broken                           UpstreamError     6
no response in time                                    TurnTimeoutError  6
401, 403: the key is missing or wrong                  ConfigError       3
400, 413, 415, 422: the audio is not accepted          InputError        5
any other status, or a response that is not a turn     UpstreamError     6
response
"""

import io
import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import ConfigError, InputError, ScaError, UpstreamError, UsageError

__all__ = [
    "MAX_RESPONSE_BYTES",
    "TurnResponse",
    "TurnTimeoutError",
    "body_headers",
    "client_headers",
    "encode",
    "error_of",
    "parse_response",
    "parse_url",
]

MAX_RESPONSE_BYTES = 1 << 20
"""What is read of a response."""

_MAX_SHOWN_CHARACTERS = 200
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # the name of a header, RFC 9110 section 5.1
_OWN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "x-sample-rate",
        "x-threshold",
        "x-timeout",
    }
)


class TurnTimeoutError(UpstreamError):
    """The turn server did not respond in time."""


class TurnTimings(BaseModel):
    """The durations that a server reports, in seconds. Not every server does."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    inference_time: float | None = None
    total_time: float | None = None


class TurnResponse(BaseModel):
    """The response of a server. Additional fields of other servers are ignored.

    Attributes:
        prediction: 1 if the speaker has finished, else 0.
        probability: The probability that the speaker has finished.
        speech: Whether the audio has speech: without it, "finished" means nothing. None if the server did not check.
        metrics: The durations.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    prediction: int = Field(ge=0, le=1)
    probability: float = Field(ge=0, le=1)
    speech: bool | None = None
    metrics: TurnTimings = TurnTimings()

    @property
    def finished(self) -> bool:
        """Whether the speaker has finished."""
        return self.prediction == 1


def encode(samples: NDArray[np.floating]) -> bytes:
    """Return the body of a request: the bytes of `np.save` for little-endian float32.

    Args:
        samples: Float `(n,)`.

    Raises:
        ValueError: The samples have another shape.
    """
    if samples.ndim != 1:
        raise ValueError(f"expected (n,), got {samples.shape}")
    buffer = io.BytesIO()
    np.save(buffer, samples.astype("<f4", copy=False), allow_pickle=False)
    return buffer.getvalue()


def body_headers(rate_hz: int, threshold: float | None, timeout_s: float | None = None) -> dict[str, str]:
    """Return the headers that describe the body of a request.

    Args:
        rate_hz: The sample rate of the audio.
        threshold: Overrides the server's threshold.
        timeout_s: How long the client waits. The server runs no model for a later response.
    """
    headers = {"Content-Type": "application/octet-stream", "X-Sample-Rate": str(rate_hz)}
    if timeout_s is not None:
        headers["X-Timeout"] = f"{timeout_s:g}"
    return headers if threshold is None else headers | {"X-Threshold": repr(float(threshold))}


def client_headers(auth_key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of all requests of a client.

    Args:
        auth_key: The server's key.
        headers: Further headers, such as those of a proxy, or `Authorization` in place of `auth_key`.

    Raises:
        UsageError: A header is one that the client sets, or there are two keys.
        ConfigError: The key or a header cannot be sent in HTTP.
    """
    found = {"Accept-Encoding": "identity", "User-Agent": "sca"}
    if auth_key:
        if not auth_key.isprintable():
            raise ConfigError("the key of the turn server contains characters that are not allowed in an HTTP header")
        found["Authorization"] = f"Key {auth_key}"
    given = {name.lower(): name for name in found}
    for name, value in (headers or {}).items():
        lower = name.lower()
        if lower in _OWN_HEADERS:
            raise UsageError(f"the header {name} is set by the client of the turn server, and cannot be given")
        if lower == "authorization" and auth_key:
            raise UsageError("two keys are given: auth_key, and the header Authorization")
        if not _TOKEN.fullmatch(name) or not value.isprintable():
            raise ConfigError(f"the header {name!r} or its value has characters that are not allowed in HTTP")
        found.pop(given.get(lower, ""), None)
        found[name] = value
    return found


def parse_url(url: str) -> str:
    """Return an address with its scheme and without /raw.

    Args:
        url: http(s)://host[:port], with or without /raw and the scheme.

    Raises:
        UsageError: It is not the address of a server.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, or unbalanced brackets
        valid = False
    if not valid or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{url!r} is not the address of a turn server", hint="such as http://127.0.0.1:8000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/raw').rstrip('/')}"


def parse_response(url: str, text: str) -> TurnResponse:
    """Return the response of a server.

    Args:
        url: Its address.
        text: The body of a response with status 200.

    Raises:
        UpstreamError: It is not a turn response.
    """
    try:
        return TurnResponse.model_validate_json(text)
    except ValidationError as error:
        raise UpstreamError(
            f"the response of {url} is not a turn response: {_shorten(text)}",
            hint="is this the address of a turn server?",
        ) from error


def error_of(url: str, status: int, text: str, retry_after: str | None = None) -> ScaError:
    """Return the exception for a response with another status than 200; see the table above.

    Args:
        url: The address of the server.
        status: The status.
        text: The body, or the reason if it is empty.
        retry_after: The header Retry-After.
    """
    message = f"{url} answered {status}: {_shorten(_detail(text))}"
    match status:
        case 401 | 403:
            return ConfigError(message, hint="give the server's key with --auth-key, or as SCA_TURN_AUTH_KEY")
        case 400 | 413 | 415 | 422:
            return InputError(message)
        case 503:
            wait = f"try again in {retry_after} s" if retry_after else "try again in a moment"
            return UpstreamError(message, hint=f"the server is full or not ready; {wait}")
    return UpstreamError(message)


def _detail(text: str) -> str:
    """Return the message of an error response: `error.what` of our server, `detail` of FastAPI, else the whole text."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    detail = document.get("error", document.get("detail", text)) if isinstance(document, dict) else text
    detail = detail.get("what", detail) if isinstance(detail, dict) else detail
    return detail if isinstance(detail, str) else json.dumps(detail)


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN_CHARACTERS else f"{line[:_MAX_SHOWN_CHARACTERS]}…"
