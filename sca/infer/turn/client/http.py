"""Ask a turn server whether the speaker has finished: the known wire format over HTTP, from any thread.

Written on the standard library's HTTP client, so that it needs no extra. Knows no model, no settings and no files.

    a failure                                    what it raises          exit code
    nobody listens, the connection breaks        UpstreamError           6
    no answer in time                            TurnTimeoutError        6
    401: the key is missing or wrong             ConfigError             3
    400, 413, 415, 422: the sound will not do    InputError              5
    503 and every other status, no turn answer   UpstreamError           6
"""

import http.client
import io
import json
import threading
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import ConfigError, InputError, ScaError, UpstreamError, UsageError
from sca.units import HEARD_HZ

__all__ = ["TurnAnswer", "TurnClient", "TurnTimeoutError", "encode"]

_ANSWER_BYTES = 1 << 20
"""More than this is no turn answer, and is not read."""


class TurnTimeoutError(UpstreamError):
    """The turn server took longer than it was given."""


class TurnTimes(BaseModel):
    """What a server says of its own time, in seconds; not every server does."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    inference_time: float | None = None
    total_time: float | None = None


class TurnAnswer(BaseModel):
    """A server's answer. Other servers of this wire format send more; it is ignored.

    prediction: 1 when the speaker has finished.   probability: of that, 0 to 1.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    prediction: int = Field(ge=0, le=1)
    probability: float = Field(ge=0, le=1)
    metrics: TurnTimes = TurnTimes()

    @property
    def finished(self) -> bool:
        """The same as a truth value."""
        return self.prediction == 1


def encode(samples: np.ndarray) -> bytes:
    """The body of a request: `np.save` of little-endian float32 `(n,)`. Raises ValueError for another shape."""
    if samples.ndim != 1:
        raise ValueError(f"expected (n,), got {samples.shape}")
    buffer = io.BytesIO()
    np.save(buffer, samples.astype("<f4", copy=False), allow_pickle=False)
    return buffer.getvalue()


class TurnClient:
    """A server's address, and one connection to it that is kept open between questions.

    Any thread may use it; they take turns, so a thread that must not wait for others has its own. `close` lets go of the
    connection, and a later question makes a new one.
    """

    def __init__(self, url: str, auth_key: str | None = None, timeout_s: float = 3.0) -> None:
        """url: http(s)://host[:port], with or without /raw.   timeout_s: for a question as a whole.

        Raises `UsageError` for another address.
        """
        self.url, self._host, self._path, tls = _address(url)
        if auth_key and not auth_key.isprintable():
            raise ConfigError("the key of the turn server holds characters that no HTTP header can")
        self._headers: dict[str, str | bytes] = {"Authorization": f"Key {auth_key}".encode()} if auth_key else {}
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        self._connection = kind(self._host, timeout=timeout_s)

    def ask(self, samples: np.ndarray, rate_hz: int = HEARD_HZ, threshold: float | None = None) -> TurnAnswer:
        """Has the speaker of float32 mono `(n,)` finished? Raises as in the table above.

        rate_hz: of the samples; the server resamples.   threshold: instead of the server's own.
        """
        headers = {"Content-Type": "application/octet-stream", "X-Sample-Rate": str(rate_hz)}
        if threshold is not None:
            headers["X-Threshold"] = repr(float(threshold))
        text = self._request("POST", "/raw", encode(samples), headers)
        try:
            return TurnAnswer.model_validate_json(text)
        except ValidationError as error:
            raise UpstreamError(
                f"{self.url} answered with something that is no turn answer: {_shortened(text)}",
                hint="is this the address of a turn server?",
            ) from error

    def probability(self, samples: np.ndarray) -> float:
        """`ask` for who wants only the number, of float32 `(n,)` at 16 kHz."""
        return self.ask(samples).probability

    def get(self, path: str) -> Any:
        """A JSON document of the server, such as /status. Raises as in the table above."""
        text = self._request("GET", path)
        try:
            return json.loads(text)
        except ValueError as error:
            raise UpstreamError(f"{self.url}{path} answered with something that is no JSON") from error

    def healthy(self) -> bool:
        """Whether a turn server answers and says that it is well; never raises for one that does not."""
        try:
            document = self.get("/health")
        except ScaError:
            return False
        return isinstance(document, dict) and document.get("ok") is True

    def close(self) -> None:
        """Let go of the connection; waits for a question that is under way. Twice is fine."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
        deadline_s = time.monotonic() + self._timeout_s
        with self._lock:
            try:
                status, reason, text, retry_after = self._exchange(method, path, body, headers or {}, deadline_s)
            except TimeoutError as error:
                self._connection.close()
                raise TurnTimeoutError(f"{self.url} did not answer within {self._timeout_s:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise UpstreamError(
                    f"{self.url} cannot be asked: {_cause(error)}", hint="is it running? sca turn start starts one"
                ) from error
        if status != 200:
            raise _refusal(self.url, status, _detail(text) or reason, retry_after)
        return text

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline_s: float
    ) -> tuple[int, str, str, str | None]:
        """Send and receive. A kept connection that the server has closed meanwhile is made anew, once."""
        kept = self._connection.sock is not None
        try:
            return self._once(method, path, body, headers, deadline_s)
        except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
            self._connection.close()
            if not kept:
                raise
        return self._once(method, path, body, headers, deadline_s)

    def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline_s: float
    ) -> tuple[int, str, str, str | None]:
        connection = self._connection
        connection.timeout = left_s = _left(deadline_s)
        if connection.sock is not None:
            connection.sock.settimeout(left_s)
        connection.request(method, self._path + path, body, {**self._headers, **headers})
        if connection.sock is not None:
            connection.sock.settimeout(_left(deadline_s))
        response = connection.getresponse()
        text = response.read(_ANSWER_BYTES).decode("utf-8", "replace")
        if not response.isclosed():  # more than any answer has
            connection.close()
        return response.status, response.reason, text, response.headers.get("Retry-After")


def _address(url: str) -> tuple[str, str, str, bool]:
    """An address as (itself without /raw, host and port, path before /raw, whether it is https)."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        sound = False
    if not sound or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{url!r} is no address of a turn server", hint="such as http://127.0.0.1:8000")
    path = parts.path.rstrip("/").removesuffix("/raw")
    return f"{parts.scheme}://{parts.netloc}{path}", parts.netloc, path, parts.scheme == "https"


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _refusal(url: str, status: int, said: str, retry_after: str | None) -> ScaError:
    message = f"{url} answered {status}: {_shortened(said)}"
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
    """What a refusal says: ours in error.what, FastAPI's in detail; the text itself when it is neither."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    said = document.get("error", document.get("detail", text)) if isinstance(document, dict) else text
    said = said.get("what", said) if isinstance(said, dict) else said
    return said if isinstance(said, str) else json.dumps(said)


def _cause(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"
