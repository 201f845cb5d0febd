"""Assembles and runs the server of `sca watch --serve`."""

from typing import TYPE_CHECKING

from anyio import to_thread

from sca.config import Settings, secret_text
from sca.distribution import install_extra
from sca.errors import MissingToolError, ScaError, UpstreamError, UsageError
from sca.infer.server.app import connection_limits
from sca.infer.server.core.errors import RequestRejectedError, error_document
from sca.infer.server.core.limits import RateLimiter
from sca.infer.server.core.logs import ServerLog
from sca.infer.server.core.metrics_process import METRICS_MEDIA_TYPE
from sca.infer.server.core.probes import PROBE_PATHS, StartingApp, add_probes
from sca.infer.server.core.security import check_bind, is_loopback
from sca.infer.server.http.access import AccessMiddleware, AccessRules
from sca.infer.server.http.page import add_page, page_files
from sca.infer.server.transport.uvicorn_server import TlsFiles, listen, serve
from sca.watch.server.host import SessionBusyError, WatchHost
from sca.watch.server.metrics import WatchMetrics
from sca.watch.server.routes import add_routes
from sca.watch.server.sources import AllowedSources, SourceRefusedError
from sca.watch.server.streams import Places

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["make_app", "run"]


def make_app(host: WatchHost) -> AccessMiddleware:
    """Return the ASGI application, inside the access middleware of the live server.

    Raises:
        MissingToolError: fastapi is not installed.
    """
    try:
        from fastapi import FastAPI
        from starlette.responses import PlainTextResponse, Response
    except ImportError as error:
        raise MissingToolError("the server needs fastapi and uvicorn", hint=install_extra("serve")) from error

    config = host.settings.serve
    app = FastAPI(title="sca watch", docs_url=None, redoc_url=None, openapi_url=None)
    places = Places(config.max_sessions)
    metrics = WatchMetrics(host, places)
    _add_errors(app)
    add_probes(app, lambda: PlainTextResponse("ok"), lambda: "the server is ending" if host.is_closed else None)

    @app.get("/metrics", response_class=Response)
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=METRICS_MEDIA_TYPE)

    add_routes(app, host, places)
    public = PROBE_PATHS | set(add_page(app, _page()))
    rules = AccessRules(
        secret_text(config.auth_key),
        config.allowed_origins,
        is_loopback(config.host),
        public,
        rate_limiter=None if config.requests_per_minute is None else RateLimiter(config.requests_per_minute),
    )
    return AccessMiddleware(app, lambda: rules, lambda status: metrics.rejections.labels(status).inc())


def _page() -> dict[str, bytes]:
    """Return the files of the page, with the style sheet and the microphone of the page of the live server."""
    shared = page_files("page")
    return page_files("watch") | {name: shared[name] for name in ("page.css", "capture.js", "resample.js")}


def _add_errors(app: "FastAPI") -> None:
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from starlette.responses import JSONResponse

    @app.exception_handler(RequestRejectedError)
    async def rejected(request: Request, error: RequestRejectedError) -> JSONResponse:
        return JSONResponse(error_document(error.status, error.message), error.status, error.headers())

    @app.exception_handler(ScaError)
    async def failed(request: Request, error: ScaError) -> JSONResponse:
        status = _status_of(error)
        message = error.message if error.hint is None else f"{error.message}: {error.hint}"
        return JSONResponse(error_document(status, message), status)

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return JSONResponse(error_document(422, f"{where}: {first['msg']}"), 422)


def _status_of(error: ScaError) -> int:
    statuses = ((SourceRefusedError, 403), (SessionBusyError, 409), (UsageError, 422), (UpstreamError, 502))
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


def run(settings: Settings, source: str | None, *, muted: bool, insecure: bool) -> None:
    """Serve until SIGTERM or SIGINT. Prints `sca watch: listening on URL` to stderr once requests are answered.

    Args:
        settings: The settings; the address and the key are those of the live server.
        source: The video to start with; None waits for `POST /api/start`.
        muted: Whether the commentary is text only.
        insecure: Whether a server that other machines can reach may run without a key.

    Raises:
        ConfigError: The address is taken, is not an address, or is reachable without a key.
        ScaError: The video, the engine or the voice cannot be opened.
    """
    config, key = settings.serve, secret_text(settings.serve.auth_key)
    check_bind(config.host, key, insecure=insecure)
    log = ServerLog("sca watch")
    log.configure(config.log_format, config.log_level)
    if key is None and not is_loopback(config.host):
        log.notice(f"--insecure: anyone who can reach {config.host} may use this server")
    tls = TlsFiles.of(config)
    given = ([] if source is None else [source]) + settings.watch.allowed_sources
    with listen(config.host, config.port) as listener:
        host = WatchHost(settings, AllowedSources(given), muted=muted)

        def load() -> AccessMiddleware:
            if source is not None:
                host.start()
            return make_app(host)

        async def drain() -> None:
            await to_thread.run_sync(host.close)

        app = StartingApp(load, b"ok", "text/plain; charset=utf-8")
        try:
            serve(
                app,
                listener,
                connection_limits(config, lambda status: None),
                on_ready=lambda url: log.notice(f"listening on {url}"),
                extra="serve",
                tls=tls,
                load=app.load,
                drain=drain,
            )
        finally:
            host.close()
    log.notice("stopped")
