"""A client of the turn server. `wire` has the table of its failures and their exceptions."""

import json
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpcore
import httpx
import numpy as np
from numpy.typing import NDArray

from sca.errors import ScaError, UpstreamError, UsageError
from sca.infer.turn.client import wire
from sca.infer.turn.client.deadline import DeadlineBackend
from sca.units import HEARD_HZ

__all__ = ["TurnClient"]


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

    def __init__(
        self,
        url: str,
        auth_key: str | None = None,
        timeout_s: float = 3.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Create a client. It connects on the first request.

        Args:
            url: http(s)://host[:port], with or without /raw.
            auth_key: The server's key.
            timeout_s: How long a request may take as a whole, with the wait for other threads.
            headers: Further headers of all requests, such as `Authorization` in place of `auth_key`.

        Raises:
            UsageError: The address is not valid, a header is one that the client sets, or there are two keys.
            ConfigError: The key or a header cannot be sent in HTTP.
        """
        self.url = _encoded_url(wire.parse_url(url))
        self._headers = {"Host": urlsplit(self.url).netloc} | wire.client_headers(auth_key, headers)
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
    ) -> wire.TurnResponse:
        """Return whether the speaker has finished. Raises the exceptions of the table in `wire`.

        Args:
            samples: Mono `(n,)`.
            rate_hz: The sample rate; the server resamples.
            threshold: Overrides the server's threshold.
        """
        headers = wire.body_headers(rate_hz, threshold, self._timeout_s)
        text = self._request("POST", "/raw", wire.encode(samples), headers)
        return wire.parse_response(self.url, text)

    def get(self, path: str) -> object:
        """Return a JSON document of the server, such as /status. Raises the exceptions of the table in `wire`."""
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

    def ready(self) -> bool:
        """Return whether a turn server has loaded its model and accepts requests. Does not raise."""
        try:
            document = self.get("/ready")
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
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        late = wire.TurnTimeoutError(f"{self.url} did not respond within {self._timeout_s:g} s")
        deadline_s = time.monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=self._timeout_s):
            raise late
        try:
            self._network.deadline_s = deadline_s
            response = self._send_with_retry(method, path, body, headers or {})
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
            raise wire.error_of(self.url, response.status, response.text or response.reason, response.retry_after)
        return response.text

    def _send_with_retry(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _HttpResponse:
        """Send a request. If the server has closed the kept connection meanwhile, connect and send again, once."""
        connected = self._connected
        try:
            return self._send(method, path, body, headers)
        except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
            self._disconnect()
            if not connected:
                raise
        return self._send(method, path, body, headers)

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _HttpResponse:
        text = bytearray()
        given = self._headers | dict(headers) | {"Content-Length": str(len(body or b""))}
        encoded = [(name.encode(), value.encode()) for name, value in given.items()]  # a key may have any characters
        with self._pool.stream(method, f"{self.url}{path}", headers=encoded, content=body) as response:
            self._connected = True
            for chunk in response.iter_stream():
                text += chunk
                self._network.left_s()
                if len(text) > wire.MAX_RESPONSE_BYTES:
                    break
        shown = bytes(text[: wire.MAX_RESPONSE_BYTES]).decode("utf-8", "replace")
        found = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        reason = bytes(response.extensions.get("reason_phrase", b"")).decode("latin-1")
        return _HttpResponse(response.status, reason, shown, found.get(b"retry-after"))


def _encoded_url(url: str) -> str:
    """Return an address whose names in other scripts are encoded as HTTP requires."""
    try:
        return str(httpx.URL(url)).rstrip("/")
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not the address of a turn server: {error}") from error


def _cause(error: BaseException) -> str:
    """Return the system's message for a failed connection, which the exceptions of httpcore have as their cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
