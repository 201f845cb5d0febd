"""The turn server: `POST /raw`, `GET /health`, `/status` and `/metrics`.

The wire format is that of pipecat's `HttpSmartTurnAnalyzer`: the bytes of `np.save` (float32 mono) in, and
`{"prediction", "probability", "metrics"}` out. A failure is always an error status, never a response with a probability
of 0.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sca.errors import MissingToolError
from sca.infer.server.core.errors import RequestRejectedError, error_document
from sca.infer.server.core.limits import read_body
from sca.infer.server.core.security import check_bind, is_loopback, key_matches
from sca.infer.server.transport.uvicorn_server import ConnectionLimits, listen, serve
from sca.infer.turn.serving.metrics import TurnMetrics
from sca.infer.turn.serving.model_pool import BusyError
from sca.infer.turn.serving.npy import NpyError, read_npy
from sca.infer.turn.serving.service import TurnResult, TurnService, load_service
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

    from sca.config import TurnConfig

__all__ = ["make_app", "run"]

logger = logging.getLogger(__name__)

_CONTENT_TYPES = ("", "application/octet-stream", "application/x-npy")
_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 192_000
_DRAIN_S = 10
_CLIENT_LEFT = 499  # not a status of HTTP, but common in logs since nginx


def make_app(service: TurnService, config: "TurnConfig") -> "FastAPI":
    """Return the ASGI application. It closes the service when it shuts down.

    Raises:
        MissingToolError: fastapi is not installed.
    """
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
    endpoints = _Endpoints(service, config)
    app.state.metrics = endpoints.metrics

    # A plain route: the framework has nothing to parse here, and its dependency injection takes 0.2 ms per request.
    app.add_route("/raw", endpoints.raw, methods=["POST"])

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        return _json_response(200, {"ok": True})

    @app.get("/status")
    async def status(request: Request) -> Response:
        return endpoints.with_key(request, lambda: _json_response(200, endpoints.status()))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        media_type = "text/plain; version=0.0.4; charset=utf-8"
        return endpoints.with_key(request, lambda: Response(endpoints.metrics.text(), media_type=media_type))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return _error_response(error.status_code, message, headers=error.headers)

    return app


class _Endpoints:
    """The implementation of the routes."""

    def __init__(self, service: TurnService, config: "TurnConfig") -> None:
        self.service, self.config = service, config
        self.metrics = TurnMetrics(service)
        self._key = config.auth_key.get_secret_value() if config.auth_key is not None else None
        self._started_s = time.monotonic()

    def status(self) -> dict[str, object]:
        return {
            "ok": True,
            **self.service.status(),
            "auth": self._key is not None,
            "max_body_bytes": self.config.max_body_bytes,
            "uptime_s": round(time.monotonic() - self._started_s, 3),
        }

    def with_key(self, request: "Request", respond: "Callable[[], Response]") -> "Response":
        """Return `respond()` if the request has the key, else the rejection."""
        try:
            self._check_key(request)
        except RequestRejectedError as error:
            return _rejection(error)
        return respond()

    async def raw(self, request: "Request") -> "Response":
        """Handle `POST /raw`. This is the only place that turns exceptions into statuses."""
        from starlette.requests import ClientDisconnect

        started_s = time.perf_counter()
        try:
            response = await self._predict(request, started_s)
        except RequestRejectedError as error:
            response = _rejection(error)
        except NpyError as error:
            response = _error_response(error.status, error.message)
        except BusyError as error:
            response = _rejection(RequestRejectedError(503, str(error), retry_after_s=error.retry_after_s))
        except ClientDisconnect:
            response = _error_response(_CLIENT_LEFT, "the client disconnected")  # counted, not received by the client
        except Exception as error:
            logger.exception("a request failed")
            response = _error_response(500, f"the model failed ({type(error).__name__}); see the server's log")
        self.metrics.count_request(response.status_code, time.perf_counter() - started_s)
        return response

    async def _predict(self, request: "Request", started_s: float) -> "Response":
        self._check_key(request)
        self.service.check_room()
        rate_hz, threshold = _read_headers(request.headers)
        limit = self.config.max_body_bytes
        length = request.headers.get("content-length")
        body = await read_body(request.stream(), length, limit, self.config.body_timeout_s)
        samples = read_npy(body, limit)
        predicting = self.service.predict(samples, rate_hz=rate_hz, threshold=threshold)
        # Watching for a disconnect costs time, and is only useful while other requests delay this one.
        busy = self.service.models.queue.busy
        result = await (_unless_disconnected(request, predicting) if busy else predicting)
        self.metrics.count_result(result)
        return _json_response(
            200,
            {
                "prediction": result.prediction,
                "probability": result.probability,
                "metrics": {
                    "inference_time": result.inference_s,
                    "queue_time": result.queued_s,
                    "total_time": time.perf_counter() - started_s,
                },
            },
        )

    def _check_key(self, request: "Request") -> None:
        if self._key is not None and not key_matches(request.headers.get("authorization"), self._key):
            raise RequestRejectedError(401, "the Authorization header must be `Key …` with the server's key")


async def _unless_disconnected(request: "Request", predicting: Coroutine[object, None, TurnResult]) -> TurnResult:
    """Await a prediction, or cancel it when the client disconnects, so that no model works in vain.

    Raises:
        ClientDisconnect: The client has disconnected.
    """
    from starlette.requests import ClientDisconnect

    prediction = asyncio.ensure_future(predicting)
    disconnect = asyncio.ensure_future(
        request.receive()
    )  # the body has been read, so the next message is the disconnect
    try:
        await asyncio.wait((prediction, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if prediction.done():
            return prediction.result()
        raise ClientDisconnect
    finally:
        prediction.cancel()
        disconnect.cancel()


def _read_headers(headers: Mapping[str, str]) -> tuple[int, float | None]:
    """Return the sample rate and the threshold of a request, and check its content type.

    Raises:
        RequestRejectedError: A header is not valid.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise RequestRejectedError(415, f"content type {content_type[:80]!r}; send application/octet-stream")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRejectedError(415, "compressed bodies are not supported; send the bytes of np.save as they are")
    return _parse_rate(headers.get("x-sample-rate")), _parse_threshold(headers.get("x-threshold"))


def _parse_rate(text: str | None) -> int:
    if text is None:
        return HEARD_HZ
    rate_hz = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise RequestRejectedError(
            422, f"X-Sample-Rate must be a whole number of Hz in {_MIN_RATE_HZ}-{_MAX_RATE_HZ}, got {text[:40]!r}"
        )
    return rate_hz


def _parse_threshold(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise RequestRejectedError(422, f"X-Threshold must be a number in 0-1, got {text[:40]!r}")
    return threshold


def _json_response(status: int, document: object, headers: Mapping[str, str] | None = None) -> "Response":
    from starlette.responses import Response

    return Response(json.dumps(document), status, headers, "application/json")


def _error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> "Response":
    return _json_response(status, error_document(status, message), headers)


def _rejection(error: RequestRejectedError) -> "Response":
    headers = error.headers()
    if error.status == 401:
        headers["WWW-Authenticate"] = "Key"
    return _error_response(error.status, error.message, headers)


def run(config: "TurnConfig", *, insecure: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests for up to 10 s.

    Prints `sca turn: listening on URL` to stderr once requests are answered.

    Args:
        config: The settings.
        insecure: Whether a server that other machines can reach may run without a key.

    Raises:
        ConfigError: The address is taken, is not an address, or is reachable without a key.
        ScaError: The model could not be loaded.
        DeviceLostError: The device of the model failed while the server ran.
    """
    key = config.auth_key.get_secret_value() if config.auth_key is not None else None
    check_bind(config.host, key, insecure=insecure)
    if key is None and not is_loopback(config.host):
        sys.stderr.write(f"sca turn: --insecure: anyone who can reach {config.host} may use this server\n")
    with listen(config.host, config.port) as listener:
        service = load_service(config)
        service.models.on_lost = lambda error: os.kill(os.getpid(), signal.SIGTERM)
        try:
            facts = service.status()
            app = make_app(service, config)
            on_rejected = app.state.metrics.requests.labels("503").inc
            serve(
                app,
                listener,
                ConnectionLimits(config.body_timeout_s, config.body_timeout_s, config.max_connections, on_rejected),
                on_ready=lambda url: sys.stderr.write(
                    f"sca turn: listening on {url} ({facts['model']}, {facts['device']}, {facts['pool']} at a time)\n"
                ),
            )
        finally:
            service.close(0)
    if service.models.lost is not None:
        raise service.models.lost
    sys.stderr.write("sca turn: stopped\n")
