"""The turn server: `POST /raw`, and `GET` of `/health`, `/ready`, `/status` and `/metrics`.

The wire format is that of pipecat's `HttpSmartTurnAnalyzer`: the bytes of `np.save` (float32 mono) in, and
`{"prediction", "probability", "metrics"}` out, with the additional field `speech`. A failure is always an error status,
never a response with a probability of 0.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sca.config import secret_text
from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.infer.server.core.errors import RequestRejectedError, error_document
from sca.infer.server.core.limits import RateLimiter, read_body, shortened
from sca.infer.server.core.metrics_process import METRICS_MEDIA_TYPE
from sca.infer.server.core.probes import PROBE_PATHS, add_probes
from sca.infer.server.core.security import is_loopback
from sca.infer.server.http.access import AccessMiddleware, AccessRules
from sca.infer.turn.serving.metrics import TurnMetrics
from sca.infer.turn.serving.model_pool import BusyError, ExpiredError
from sca.infer.turn.serving.npy import NpyError, read_npy
from sca.infer.turn.serving.request_headers import read_headers
from sca.infer.turn.serving.request_log import CLIENT_LEFT, RequestLog, RequestRecord, record_of
from sca.infer.turn.serving.service import TurnResult, TurnService

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

    from sca.config import TurnConfig

__all__ = ["HEALTH_BODY", "TurnEndpoints", "make_app"]

logger = logging.getLogger(__name__)

HEALTH_BODY = b'{"ok": true}'
_CLOSE_S = 10


def make_app(service: TurnService, config: "TurnConfig") -> "FastAPI":
    """Return the ASGI application. It closes the service when it shuts down.

    Raises:
        MissingToolError: fastapi is not installed.
    """
    try:
        from fastapi import FastAPI, Request, Response
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise MissingToolError("the turn server needs fastapi and uvicorn", hint=install_extra("turn")) from error

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close, _CLOSE_S)

    app = FastAPI(title="sca turn", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    endpoints = TurnEndpoints(service, config)
    app.state.endpoints, app.state.metrics = endpoints, endpoints.metrics
    app.add_middleware(AccessMiddleware, rules=lambda: endpoints.rules)
    app.add_middleware(RequestLog, count=endpoints.metrics.count_request)
    # A plain route: the framework has nothing to parse here, and its dependency injection takes 0.2 ms per request.
    app.add_route("/raw", endpoints.raw, methods=["POST"])
    add_probes(app, lambda: Response(HEALTH_BODY, media_type="application/json"), endpoints.not_ready)

    @app.get("/status")
    async def status(request: Request) -> Response:
        return _json_response(200, endpoints.status())

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        return Response(endpoints.metrics.text(), media_type=METRICS_MEDIA_TYPE)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {shortened(request.url.path)}: {error.detail}"
        return _error_response(error.status_code, message, headers=error.headers)

    return app


class TurnEndpoints:
    """The implementation of the routes.

    Attributes:
        service: The model.
        metrics: The metrics.
        rules: Who may use the server.
        draining: Whether the server is about to stop, so that it should get no more requests.
    """

    def __init__(self, service: TurnService, config: "TurnConfig") -> None:
        self.service = service
        self.metrics = TurnMetrics(service)
        self.draining = False
        self._started_s = time.monotonic()
        self._rate_limiter: RateLimiter | None = None
        self.configure(config)

    def configure(self, config: "TurnConfig") -> None:
        """Take over the settings that may change while the server runs."""
        per_minute = config.requests_per_minute
        if per_minute is None:
            self._rate_limiter = None
        elif self._rate_limiter is None or self._rate_limiter.per_minute != per_minute:
            self._rate_limiter = RateLimiter(per_minute)
        self._config = config
        self.rules = AccessRules(
            key=secret_text(config.auth_key),
            allowed_origins=config.allowed_origins,
            loopback_only=is_loopback(config.host),
            public_paths=PROBE_PATHS,
            rate_limiter=self._rate_limiter,
            scheme="Key",
            setting="turn.origins",
        )
        self.service.configure(config)

    def not_ready(self) -> str | None:
        """Return why the server should get no requests now; None if it is ready."""
        if self.draining:
            return "the server is stopping"
        refusal = self.service.models.queue.refusal()
        return None if refusal is None else str(refusal)

    def status(self) -> dict[str, object]:
        """Return the document of `/status`."""
        return {
            "ok": True,
            "ready": self.not_ready() is None,
            **self.service.status(),
            "auth": self.rules.key is not None,
            "max_body_bytes": self._config.max_body_bytes,
            "uptime_s": round(time.monotonic() - self._started_s, 3),
        }

    async def raw(self, request: "Request") -> "Response":
        """Handle `POST /raw`. This is the only place that turns exceptions into statuses."""
        from starlette.requests import ClientDisconnect

        started_s = time.perf_counter()
        record = record_of(request.scope)
        try:
            return await self._predict(request, record, started_s)
        except RequestRejectedError as error:
            return _rejection(error)
        except NpyError as error:
            return _error_response(error.status, error.message)
        except BusyError as error:
            record.outcome = error.reason
            return _rejection(RequestRejectedError(503, str(error), retry_after_s=error.retry_after_s))
        except ExpiredError as error:
            retry_after_s = self.service.models.queue.retry_after_s()
            return _rejection(RequestRejectedError(504, str(error), retry_after_s=retry_after_s))
        except ClientDisconnect:
            return _error_response(CLIENT_LEFT, "the client disconnected")  # counted, not received by the client
        except Exception as error:
            logger.exception("a request failed")
            return _error_response(500, f"the model failed ({type(error).__name__}); see the server's log")

    async def _predict(self, request: "Request", record: RequestRecord, started_s: float) -> "Response":
        self.service.check_room()
        asked = read_headers(request.headers)
        limit = self._config.max_body_bytes
        length = request.headers.get("content-length")
        body = await read_body(request.stream(), length, limit, self._config.body_timeout_s)
        record.body_bytes = len(body)
        samples = read_npy(body, limit)
        record.audio_s = len(samples) / asked.rate_hz
        timeout_s = asked.timeout_s - (time.perf_counter() - started_s)
        # Watching for a disconnect costs time, and is only useful while other requests delay this one.
        busy = self.service.models.queue.busy
        predicting = self.service.predict(
            samples, rate_hz=asked.rate_hz, threshold=asked.threshold, timeout_s=timeout_s
        )
        result = await (_unless_disconnected(request, predicting) if busy else predicting)
        record.batch, record.queued_s, record.inference_s = result.batch_size, result.queued_s, result.inference_s
        self.metrics.count_result(result)
        return _json_response(200, _answer(result, time.perf_counter() - started_s))


def _answer(result: TurnResult, total_s: float) -> dict[str, object]:
    document: dict[str, object] = {"prediction": result.prediction, "probability": result.probability}
    if result.speech is not None:
        document["speech"] = result.speech
    document["metrics"] = {
        "inference_time": result.inference_s,
        "queue_time": result.queued_s,
        "total_time": total_s,
    }
    return document


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


def _json_response(status: int, document: object, headers: Mapping[str, str] | None = None) -> "Response":
    from starlette.responses import Response

    return Response(json.dumps(document), status, headers, "application/json")


def _error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> "Response":
    return _json_response(status, error_document(status, message), headers)


def _rejection(error: RequestRejectedError) -> "Response":
    return _error_response(error.status, error.message, error.headers())
