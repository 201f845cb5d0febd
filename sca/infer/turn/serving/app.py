"""The turn server: `POST /raw`, `GET /health`, `/status`, `/metrics`, over a `TurnService`. Errors are errors, never a made-up 0.

Wire format of pipecat's `HttpSmartTurnAnalyzer`: the bytes of `np.save`, float32 mono, answered by
`{"prediction", "probability", "metrics"}`.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sca.errors import MissingToolError
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.limits import read_body
from sca.infer.server.core.security import check_bind, is_loopback, key_matches
from sca.infer.server.transport.uvicorn_server import ConnectionLimits, listen, serve
from sca.infer.turn.serving.metrics import TurnMetrics
from sca.infer.turn.serving.model_pool import BusyError
from sca.infer.turn.serving.npy import NpyError, read_npy
from sca.infer.turn.serving.service import Judgement, TurnService, load_service
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

    from sca.config import TurnConfig

__all__ = ["make_app", "run"]

logger = logging.getLogger(__name__)

_TYPES = ("", "application/octet-stream", "application/x-npy")
_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 192_000
_DRAIN_S = 10


def make_app(service: TurnService, config: "TurnConfig") -> "FastAPI":
    """The ASGI application. It closes the service when it shuts down."""
    try:
        from fastapi import FastAPI, Request, Response
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise MissingToolError("the turn server needs fastapi and uvicorn", hint="pip install 'sca[turn]'") from error

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close, _DRAIN_S)

    app = FastAPI(title="sca turn", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    door = _Door(service, config)
    app.state.metrics = door.metrics

    # A bare route: nothing here is for the framework to parse, and its dependency machinery costs 0.2 ms a request.
    app.add_route("/raw", door.raw, methods=["POST"])

    @app.get("/health")
    async def health() -> Response:
        return _json(200, {"ok": True})

    @app.get("/status")
    async def status(request: Request) -> Response:
        return door.guarded(request, lambda: _json(200, door.status()))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        page = "text/plain; version=0.0.4; charset=utf-8"
        return door.guarded(request, lambda: Response(door.metrics.text(), media_type=page))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)

    return app


class _Door:
    """What the routes do, without the framework's decorators."""

    def __init__(self, service: TurnService, config: "TurnConfig") -> None:
        self.service, self.config = service, config
        self.metrics = TurnMetrics(service)
        self._key = config.auth_key.get_secret_value() if config.auth_key is not None else None
        self._started_s = time.monotonic()

    def status(self) -> dict[str, Any]:
        """The service's status and the server's own."""
        return {
            "ok": True,
            **self.service.status(),
            "auth": self._key is not None,
            "max_body_bytes": self.config.max_body_bytes,
            "uptime_s": round(time.monotonic() - self._started_s, 3),
        }

    def guarded(self, request: "Request", answer: Any) -> "Response":
        """`answer()` for those with the key."""
        try:
            self._check_key(request)
        except RequestRejectedError as error:
            return _refusal(error)
        response: Response = answer()
        return response

    async def raw(self, request: "Request") -> "Response":
        """Judge a body. The one place where what can go wrong becomes a status."""
        started_s = time.perf_counter()
        try:
            response = await self._judge(request, started_s)
        except RequestRejectedError as error:
            response = _refusal(error)
        except NpyError as error:
            response = _error(error.status, error.what)
        except BusyError as error:
            response = _refusal(RequestRejectedError(503, str(error), retry_after_s=error.retry_after_s))
        except Exception as error:
            from starlette.requests import ClientDisconnect

            if isinstance(error, ClientDisconnect):
                response = _error(400, "the client left")  # for the counter; nobody reads it
            else:
                logger.exception("a request failed")
                response = _error(500, f"the model failed ({type(error).__name__}); the server's log says how")
        self.metrics.finished(response.status_code, time.perf_counter() - started_s)
        return response

    async def _judge(self, request: "Request", started_s: float) -> "Response":
        headers = request.headers
        self._check_key(request)
        self.service.check_room()
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise RequestRejectedError(415, f"content type {kind[:80]!r}; send application/octet-stream")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestRejectedError(415, "compressed bodies are not read; send the bytes of np.save as they are")
        rate_hz = _sample_rate(headers.get("x-sample-rate"))
        threshold = _threshold(headers.get("x-threshold"))
        limit = self.config.max_body_bytes
        length = headers.get("content-length")
        body = await read_body(request.stream(), length, limit, self.config.body_timeout_s)
        x = read_npy(body, limit)
        judging = self.service.judge(x, rate_hz=rate_hz, threshold=threshold)
        judgement = await (_while_here(request, judging) if self.service.runner.queue.busy else judging)
        self.metrics.answered(judgement)
        return _json(
            200,
            {
                "prediction": judgement.prediction,
                "probability": judgement.probability,
                "metrics": {
                    "inference_time": judgement.inference_s,
                    "queue_time": judgement.queued_s,
                    "total_time": time.perf_counter() - started_s,
                },
            },
        )

    def _check_key(self, request: "Request") -> None:
        if self._key is not None and not key_matches(request.headers.get("authorization"), self._key):
            raise RequestRejectedError(401, "the Authorization header has to be `Key …` with the server's key")


async def _while_here(request: "Request", judging: Coroutine[Any, Any, Judgement]) -> Judgement:
    """What is judged, unless the client leaves first; then the question is taken back, and nobody's model works for nothing."""
    from starlette.requests import ClientDisconnect

    asking = asyncio.ensure_future(judging)
    leaving = asyncio.ensure_future(request.receive())  # the body has been read: the next message is that it left
    try:
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        raise ClientDisconnect
    finally:
        asking.cancel()
        leaving.cancel()


def _sample_rate(text: str | None) -> int:
    if text is None:
        return HEARD_HZ
    rate_hz = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise RequestRejectedError(
            422, f"X-Sample-Rate should be a whole number of Hz in {_MIN_RATE_HZ}-{_MAX_RATE_HZ}, got {text[:40]!r}"
        )
    return rate_hz


def _threshold(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise RequestRejectedError(422, f"X-Threshold should be a number in 0-1, got {text[:40]!r}")
    return threshold


def _json(status: int, document: Any, headers: dict[str, str] | None = None) -> "Response":
    from starlette.responses import Response

    return Response(json.dumps(document), status, headers, "application/json")


def _error(status: int, what: str, headers: Any = None) -> "Response":
    return _json(status, {"error": {"status": status, "what": what}}, dict(headers or {}))


def _refusal(error: RequestRejectedError) -> "Response":
    headers = {}
    if error.close:
        headers["Connection"] = "close"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Key"
    return _error(error.status, error.message, headers)


def run(config: "TurnConfig", *, insecure: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; then requests that are being answered are, for up to 10 s.

    The line `sca turn: listening on URL` on stderr says that requests are answered from now on. Raises `ConfigError` for an
    address that is taken, is none, or is reachable without a key, and what `load_service` raises.
    """
    key = config.auth_key.get_secret_value() if config.auth_key is not None else None
    check_bind(config.host, key, insecure=insecure)
    if key is None and not is_loopback(config.host):
        sys.stderr.write(f"sca turn: --insecure: anyone who reaches {config.host} may use this server\n")
    with listen(config.host, config.port) as listener:
        service = load_service(config)
        try:
            facts = service.status()
            app = make_app(service, config)
            refused = app.state.metrics.requests.labels("503").inc
            serve(
                app,
                listener,
                ConnectionLimits(config.body_timeout_s, config.body_timeout_s, config.max_connections, refused),
                on_ready=lambda url: sys.stderr.write(
                    f"sca turn: listening on {url} ({facts['model']}, {facts['device']}, {facts['pool']} at a time)\n"
                ),
            )
        finally:
            service.close(0)
    sys.stderr.write("sca turn: stopped\n")
