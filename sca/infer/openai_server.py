"""Requests to servers with the API of OpenAI: addresses, keys, failures, and requests that are sent again.

    failure                                             exception        exit code
    no server, no answer in time, a broken connection   UpstreamError    6
    401, 403: missing or wrong key                      ConfigError      3
    404: no such endpoint, model or voice               UpstreamError    6
    408, 425, 429, 5xx (sent again)                     UpstreamError    6
    another status                                      UpstreamError    6

The formats of requests and answers are those of the packages `language`, `speech.openai` and `recognition`.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from sca.errors import ConfigError, ScaError, UpstreamError
from sca.textutil import first_line

__all__ = [
    "OPENAI_VOICES",
    "Failures",
    "RetryableError",
    "auth_headers",
    "error_message",
    "error_text",
    "open_client",
    "send_again",
    "shortened",
    "split_address",
]

OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
"""The voices of OpenAI. Source: the parameter `voice` of openai-python 2.x, for speech and for Realtime sessions."""

_CONNECT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504, 529)
_MAX_ERROR_BYTES = 1 << 16
_MAX_SHOWN_CHARS = 200


def split_address(given: str, endpoint: str) -> tuple[str, str] | None:
    """Return the origin of a server, and the path before its endpoints, such as `/v1`; None if it is not an address.

    Args:
        given: The address of the server, with or without `http://`, `/v1` and the endpoint.
        endpoint: The path of the endpoint after `/v1`.
    """
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, or unbalanced brackets
        return None
    if not valid or parts.query or parts.fragment or parts.username is not None:
        return None
    path = parts.path.rstrip("/").removesuffix(endpoint)
    return f"{parts.scheme}://{parts.netloc}", path or "/v1"


def auth_headers(key: str | None, section: str) -> dict[str, str]:
    """Return the header with a key; nothing without one.

    Args:
        key: The key.
        section: The section of the settings that has it, such as `llm`.

    Raises:
        ConfigError: The key cannot be sent in an HTTP header.
    """
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{section}.api_key contains characters that are not allowed in an HTTP header")
    return {"Authorization": f"Bearer {key}"}


def open_client(url: str, headers: dict[str, str], *, connect_s: float, read_s: float) -> httpx.Client:
    """Open a client. A server on this machine is reached without a proxy.

    Args:
        url: The address of the endpoint.
        headers: The headers of every request.
        connect_s: The longest time for a connection, which is also limited to 5 s.
        read_s: The longest time without data, in seconds.
    """
    return httpx.Client(
        headers=headers,
        timeout=httpx.Timeout(read_s, connect=min(_CONNECT_S, connect_s)),
        trust_env=urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1"),
        limits=httpx.Limits(max_connections=64),
    )


class RetryableError(Exception):
    """A failure that may pass, before the first part of an answer.

    Attributes:
        error: The error to raise after the last attempt.
        after_s: The pause that the server requests, in seconds.
    """

    def __init__(self, error: ScaError, after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.after_s = error, after_s


def send_again(send: Callable[[], None], *, retries: int, wait: Callable[[float], bool]) -> None:
    """Send a request, and again after a `RetryableError`. The pauses are 0.5 s, 1 s, …, at most 8 s.

    Args:
        send: Sends the request and reads the answer.
        retries: The number of further attempts.
        wait: Waits for a time in seconds; returns whether the answer is no longer needed.

    Raises:
        ScaError: The error of the last attempt.
    """
    pause_s = _FIRST_PAUSE_S
    for attempt in range(retries + 1):
        try:
            return send()
        except RetryableError as failure:
            if attempt == retries:
                raise failure.error from failure
            if wait(min(pause_s if failure.after_s is None else failure.after_s, _LONGEST_PAUSE_S)):
                return None
            pause_s *= 2
    return None


@dataclass(frozen=True, slots=True)
class Failures:
    """Returns the errors of a server. They are `RetryableError` if the request may succeed later.

    Attributes:
        where: The server, as messages name it.
        section: The section of its settings, such as `llm`.
        answer: The kind of the answer, such as "an answer" or "the audio".
        missing: What does not exist after the status 404, such as "has no such model".
        missing_hint: The settings that name it.
    """

    where: str
    section: str
    answer: str
    missing: str
    missing_hint: str

    def broken(self, error: httpx.HTTPError, *, has_begun: bool) -> Exception:
        """Return the error of a request without a complete answer."""
        if has_begun:
            return UpstreamError(
                f"the connection to {self.where} broke in the middle of {self.answer}: {first_line(error)}"
            )
        cannot_connect = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        problem = f"cannot connect to {self.where}" if cannot_connect else f"{self.where} does not answer"
        hint = f"is the server running, and is {self.section}.base_url its address?"
        return RetryableError(UpstreamError(f"{problem}: {first_line(error)}", hint=hint))

    def refused(self, response: httpx.Response) -> Exception:
        """Return the error of a status other than 200."""
        status, text = response.status_code, error_text(_start_of(response))
        if status in (401, 403):
            return ConfigError(
                f"{self.where} refuses the key (status {status}): {text}",
                hint=f"set SCA_{self.section.upper()}_API_KEY to its key",
            )
        if status == 404:
            return UpstreamError(f"{self.where} {self.missing} (status 404): {text}", hint=self.missing_hint)
        error = UpstreamError(f"{self.where} answers with status {status}: {text}")
        return RetryableError(error, _pause_s(response)) if status in _RETRY_STATUS else error


def error_text(body: str) -> str:
    """Return the message of an error response: that of the API, or the first line of the body."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return shortened(body)
    if isinstance(document, dict):
        return error_message(document.get("error") or document.get("detail") or document)
    return shortened(body)


def error_message(error: object) -> str:
    """Return the message of the JSON value `error` of a response."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return shortened(error["message"])
    return shortened(error if isinstance(error, str) else json.dumps(error))


def shortened(text: str) -> str:
    """Return the first line of a response, with at most 200 characters."""
    line = (text.strip().splitlines() or ["an empty response"])[0]
    return line if len(line) <= _MAX_SHOWN_CHARS else f"{line[:_MAX_SHOWN_CHARS]}…"


def _start_of(response: httpx.Response) -> str:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MAX_ERROR_BYTES:
            break
    return body.decode(errors="replace")


def _pause_s(response: httpx.Response) -> float | None:
    """Return the pause in the header `Retry-After`, in seconds; None without one, or if it is a date."""
    with suppress(ValueError):
        return max(0.0, float(response.headers.get("retry-after", "")))
    return None
