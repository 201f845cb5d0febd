"""The request log of the turn server: one line per request, without audio, text, queries or secrets.

Probes are logged at the level debug, answers at info, rejections at warning, and failures of the model at error.
"""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.infer.server.core.logs import log_event
from sca.infer.server.core.probes import PROBE_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CLIENT_LEFT", "RequestLog", "RequestRecord", "log_rejected_connection", "record_of"]

logger = logging.getLogger("sca.requests")

CLIENT_LEFT = 499
"""Not a status of HTTP, but common in logs since nginx."""

_KEY = "sca.request"
_OUTCOMES = {
    401: "unauthorized",
    408: "body_timeout",
    429: "rate_limited",
    431: "head_too_large",
    CLIENT_LEFT: "client_left",
    500: "model_failed",
    503: "overloaded",
    504: "expired",
}


@dataclass(slots=True)
class RequestRecord:
    """A request, filled in while it is answered.

    Attributes:
        client: The address of the client.
        method: The method.
        path: The path, without the query.
        status: The status of the response; 499 if the client left.
        outcome: What became of it, in one word; None for the word that belongs to the status.
        body_bytes: The size of the body.
        audio_s: The duration of the audio.
        batch: How many requests the model processed together.
        queued_s: The wait for a model.
        inference_s: The time in the model.
    """

    client: str
    method: str
    path: str
    status: int = CLIENT_LEFT
    outcome: str | None = None
    body_bytes: int | None = None
    audio_s: float | None = None
    batch: int | None = None
    queued_s: float | None = None
    inference_s: float | None = None

    def result(self) -> str:
        """Return the outcome."""
        if self.outcome is not None:
            return self.outcome
        return "answered" if self.status < 400 else _OUTCOMES.get(self.status, "rejected")

    def level(self) -> int:
        """Return the level of the line."""
        if self.path in PROBE_PATHS:
            return logging.DEBUG
        if self.status < 400:
            return logging.INFO
        return logging.ERROR if self.status == 500 else logging.WARNING

    def fields(self, total_s: float) -> dict[str, object]:
        """Return the fields of the line."""
        return {
            "client": self.client,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "outcome": self.result(),
            "bytes": self.body_bytes,
            "audio_s": self.audio_s,
            "batch": self.batch,
            "queue_s": self.queued_s,
            "model_s": self.inference_s,
            "total_s": total_s,
        }


def record_of(scope: "Scope") -> RequestRecord:
    """Return the record of a request. Outside of a `RequestLog` it is logged nowhere."""
    record = scope.get(_KEY)
    return record if isinstance(record, RequestRecord) else RequestRecord("", scope["method"], scope["path"])


class RequestLog:
    """ASGI middleware that logs each request when its response has been sent.

    Args:
        app: The application.
        count: Called with each record and its duration in seconds, before the line is written.
    """

    def __init__(self, app: "ASGIApp", count: "Callable[[RequestRecord, float], object]") -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle a request. See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        client = scope.get("client") or ("", 0)
        record = scope[_KEY] = RequestRecord(client[0], scope["method"], scope["path"])

        async def send_noting(message: "Message") -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            total_s = time.perf_counter() - started_s
            self._count(record, total_s)
            level = record.level()
            if logger.isEnabledFor(level):
                log_event(logger, level, "request", record.fields(total_s))


def log_rejected_connection(status: int, count: "Callable[[RequestRecord, float], object]") -> None:
    """Count and log a connection that was rejected before its request was read."""
    outcome = "too_many_connections" if status == 503 else None
    record = RequestRecord("", "", "", status, outcome)
    count(record, 0.0)
    log_event(logger, logging.WARNING, "request", {"status": status, "outcome": record.result()})
