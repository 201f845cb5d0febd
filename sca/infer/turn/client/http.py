"""A client of the turn server.

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
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpcore
import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import ConfigError, InputError, ScaError, UpstreamError, UsageError
from sca.infer.turn.client.deadline import DeadlineBackend
from sca.units import HEARD_HZ

__all__ = ["TurnClient", "TurnResponse", "TurnTimeoutError", "encode"]

_MAX_RESPONSE_BYTES = 1 << 20
_MAX_SHOWN_CHARACTERS = 200


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
        metrics: The durations.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    prediction: int = Field(ge=0, le=1)
    probability: float = Field(ge=0, le=1)
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


@dataclass(frozen=True, slots=True)
class _HttpResponse:
    status: int
    reason: str
    text: str
    retry_after: str | None


class TurnClient:
    """A client with one connection, which is kept open between requests.

    Thread-safe: threads take turns, so a thread that must not wait for others needs its own client. After `close`, the
    next request opens a new connection.

    Attributes:
        url: The address of the server.
    """

    def __init__(self, url: str, auth_key: str | None = None, timeout_s: float = 3.0) -> None:
        """Create a client. It connects on the first request.

        Args:
            url: http(s)://host[:port], with or without /raw.
            auth_key: The server's key.
            timeout_s: How long a request may take as a whole, with the wait for other threads.

        Raises:
            UsageError: The address is not valid.
            ConfigError: The key cannot be sent in an HTTP header.
        """
        self.url = _parse_url(url)
        if auth_key and not auth_key.isprintable():
            raise ConfigError("the key of the turn server contains characters that are not allowed in an HTTP header")
        self._headers = [("Host", urlsplit(self.url).netloc), ("Accept-Encoding", "identity"), ("User-Agent", "sca")]
        if auth_key:
            self._headers.append(("Authorization", f"Key {auth_key}"))
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._network = DeadlineBackend()
        self._pool = httpcore.ConnectionPool(
            # The certificates of the system.
            ssl_context=ssl.create_default_context() if self.url.startswith("https://") else None,
            max_connections=1,
            network_backend=self._network,
        )
        self._connected = False  # whether a connection is kept open

    def predict(
        self, samples: NDArray[np.floating], rate_hz: int = HEARD_HZ, threshold: float | None = None
    ) -> TurnResponse:
        """Return whether the speaker has finished. Raises the exceptions of the table above.

        Args:
            samples: Mono `(n,)`.
            rate_hz: The sample rate; the server resamples.
            threshold: Overrides the server's threshold.
        """
        headers = [("Content-Type", "application/octet-stream"), ("X-Sample-Rate", str(rate_hz))]
        if threshold is not None:
            headers.append(("X-Threshold", repr(float(threshold))))
        text = self._request("POST", "/raw", encode(samples), headers)
        try:
            return TurnResponse.model_validate_json(text)
        except ValidationError as error:
            raise UpstreamError(
                f"the response of {self.url} is not a turn response: {_shorten(text)}",
                hint="is this the address of a turn server?",
            ) from error

    def get(self, path: str) -> object:
        """Return a JSON document of the server, such as /status. Raises the exceptions of the table above."""
        text = self._request("GET", path)
        try:
            document: object = json.loads(text)
        except ValueError as error:
            raise UpstreamError(f"the response of {self.url}{path} is not JSON") from error
        return document

    def healthy(self) -> bool:
        """Return whether a turn server responds and reports that it is healthy. Does not raise."""
        try:
            document = self.get("/health")
        except ScaError:
            return False
        return isinstance(document, dict) and document.get("ok") is True

    def close(self) -> None:
        """Close the connection, after a request that is in progress. May be called more than once."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _disconnect(self) -> None:
        self._pool.close()  # only its connections: the next request opens one
        self._connected = False

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> str:
        late = TurnTimeoutError(f"{self.url} did not respond within {self._timeout_s:g} s")
        deadline_s = time.monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=self._timeout_s):
            raise late
        try:
            self._network.deadline_s = deadline_s
            response = self._send_with_retry(method, path, body, headers)
        except (TimeoutError, httpcore.TimeoutException) as error:
            self._disconnect()
            raise late from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            self._disconnect()
            raise UpstreamError(
                f"cannot reach {self.url}: {_cause(error)}", hint="is it running? sca turn start starts one"
            ) from error
        finally:
            self._lock.release()
        if response.status != 200:
            raise _error_of(self.url, response)
        return response.text

    def _send_with_retry(
        self, method: str, path: str, body: bytes | None, headers: Sequence[tuple[str, str]]
    ) -> _HttpResponse:
        """Send a request. If the server has closed the kept connection meanwhile, connect and send again, once."""
        connected = self._connected
        try:
            return self._send(method, path, body, headers)
        except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
            self._disconnect()
            if not connected:
                raise
        return self._send(method, path, body, headers)

    def _send(self, method: str, path: str, body: bytes | None, headers: Sequence[tuple[str, str]]) -> _HttpResponse:
        text = bytearray()
        given = [*self._headers, *headers, ("Content-Length", str(len(body or b"")))]
        encoded = [(name.encode(), value.encode()) for name, value in given]  # a key may have any characters
        with self._pool.stream(method, f"{self.url}{path}", headers=encoded, content=body) as response:
            self._connected = True
            for chunk in response.iter_stream():
                text += chunk
                self._network.left_s()
                if len(text) > _MAX_RESPONSE_BYTES:
                    break
        shown = bytes(text[:_MAX_RESPONSE_BYTES]).decode("utf-8", "replace")
        found = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        reason = bytes(response.extensions.get("reason_phrase", b"")).decode("latin-1")
        return _HttpResponse(response.status, reason, shown, found.get(b"retry-after"))


def _parse_url(url: str) -> str:
    """Return an address with its scheme and without /raw. Names in other scripts are encoded as HTTP requires."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        path = parts.path.rstrip("/").removesuffix("/raw")
        encoded = str(httpx.URL(f"{parts.scheme}://{parts.netloc}{path}"))
    except (ValueError, httpx.InvalidURL):  # a port that is not a number, or unbalanced brackets
        valid = False
    if not valid or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{url!r} is not the address of a turn server", hint="such as http://127.0.0.1:8000")
    return encoded.rstrip("/")


def _error_of(url: str, response: _HttpResponse) -> ScaError:
    message = f"{url} answered {response.status}: {_shorten(_detail(response.text) or response.reason)}"
    match response.status:
        case 401 | 403:
            return ConfigError(message, hint="give the server's key with --auth-key, or as SCA_TURN_AUTH_KEY")
        case 400 | 413 | 415 | 422:
            return InputError(message)
        case 503:
            wait = f"try again in {response.retry_after} s" if response.retry_after else "try again in a moment"
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


def _cause(error: BaseException) -> str:
    """Return the system's message for a failed connection, which the exceptions of httpcore have as their cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN_CHARACTERS else f"{line[:_MAX_SHOWN_CHARACTERS]}…"
