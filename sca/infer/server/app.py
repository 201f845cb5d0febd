"""Assembles and runs the live server. An endpoint is a function `add(app, context)`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sca.config import secret_text
from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.infer.server.core.errors import error_document
from sca.infer.server.core.limits import RateLimiter
from sca.infer.server.core.logs import ServerLog
from sca.infer.server.core.probes import StartingApp
from sca.infer.server.core.security import check_bind, is_loopback
from sca.infer.server.core.state import ServerContext
from sca.infer.server.http import audio_stream, infer_wav, monitoring, page
from sca.infer.server.http.access import AccessMiddleware, AccessRules
from sca.infer.server.protocols import pcm16, twilio
from sca.infer.server.protocols.realtime import client_secrets
from sca.infer.server.protocols.realtime import session as realtime
from sca.infer.server.protocols.webrtc import endpoint as webrtc
from sca.infer.server.transport.connection_limits import ConnectionLimits
from sca.infer.server.transport.uvicorn_server import TlsFiles, WebSocketOptions, listen, serve
from sca.textutil import counted

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

    from sca.config import ServeConfig, Settings

__all__ = ["ENDPOINTS", "connection_limits", "make_app", "run", "websocket_options"]

ENDPOINTS: tuple[Callable[["FastAPI", ServerContext], None], ...] = (
    monitoring.add,
    page.add,
    pcm16.add,
    realtime.add,
    client_secrets.add,
    webrtc.add,
    twilio.add,
    infer_wav.add,
    audio_stream.add,
)


def connection_limits(serve: "ServeConfig", on_rejected: Callable[[int], object]) -> ConnectionLimits:
    """Return the connection limits of the settings."""
    return ConnectionLimits(
        serve.head_timeout_s,
        serve.body_timeout_s,
        serve.max_connections,
        on_rejected,
        proxies=serve.trusted_proxies,
        write_timeout_s=serve.body_timeout_s,
    )


def websocket_options(serve: "ServeConfig", drain: Callable[[], Awaitable[object]]) -> WebSocketOptions:
    """Return the WebSocket options of the settings."""
    return WebSocketOptions(serve.max_message_bytes, drain, serve.ping_s, serve.ping_timeout_s)


def make_app(context: ServerContext) -> AccessMiddleware:
    """Return the ASGI application with all endpoints, inside the access middleware.

    Raises:
        MissingToolError: fastapi is not installed.
    """
    try:
        from fastapi import FastAPI, Request
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse
    except ImportError as error:
        raise MissingToolError("the server needs fastapi and uvicorn", hint=install_extra("serve")) from error
    from sca.distribution import __version__

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with context.running():
            yield

    # No interactive documentation: its pages load scripts from other hosts. /openapi.json has the same content.
    app = FastAPI(title="sca", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> "Response":
        document = error_document(error.status_code, f"{request.method}: {error.detail}")
        return JSONResponse(document, error.status_code, error.headers)

    for add in ENDPOINTS:
        add(app, context)
    config = context.settings.serve
    rules = AccessRules(
        key=secret_text(config.auth_key),
        allowed_origins=config.allowed_origins,
        loopback_only=is_loopback(config.host),
        public_paths=context.public_paths,
        signature_checks=context.signature_checks,
        client_secret_paths=context.client_secret_paths,
        is_client_secret=lambda value: context.client_secrets.find(value) is not None,
        rate_limiter=None if config.requests_per_minute is None else RateLimiter(config.requests_per_minute),
    )
    return AccessMiddleware(app, lambda: rules, lambda status: context.metrics.rejections.labels(status).inc())


def run(settings: "Settings", *, insecure: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; open sessions are then notified and may finish what they are saying.

    Prints `sca serve: listening on URL` to stderr once clients are answered.

    Args:
        settings: The settings.
        insecure: Whether a server that other machines can reach may run without a key.

    Raises:
        ConfigError: The address is taken, is not an address, or is reachable without a key.
        ScaError: The engine could not be loaded.
    """
    from sca.infer.engines.choice import choose_engine

    config, key = settings.serve, secret_text(settings.serve.auth_key)
    check_bind(config.host, key, insecure=insecure)
    log = ServerLog("sca serve")
    log.configure(config.log_format, config.log_level)
    if key is None and not is_loopback(config.host):
        log.notice(f"--insecure: anyone who can reach {config.host} may use this server")
    tls = TlsFiles.of(config)
    choice = choose_engine(settings)
    log.notice(choice.line)
    with listen(config.host, config.port) as listener:
        server = _LiveServer(settings, choice.name, log)
        app = StartingApp(server.load, b"ok", "text/plain; charset=utf-8")
        serve(
            app,
            listener,
            connection_limits(config, server.count_rejected_connection),
            on_ready=server.on_ready,
            extra="serve",
            websockets=websocket_options(config, server.drain),
            tls=tls,
            load=app.load,
        )
    log.notice("stopped")


class _LiveServer:
    """The server while its engine is loaded, and after that."""

    def __init__(self, settings: "Settings", engine_name: str, log: ServerLog) -> None:
        self._settings, self._engine_name, self._log = settings, engine_name, log
        self._context: ServerContext | None = None

    def load(self) -> AccessMiddleware:
        from sca.infer.engines.registry import load_engine

        engine = load_engine(self._engine_name, self._settings, self._settings.serve.max_sessions)
        context = ServerContext(engine, self._settings)
        app = make_app(context)
        self._context = context
        return app

    def on_ready(self, url: str) -> None:
        assert self._context is not None
        engine, most = self._context.engine.info, self._context.sessions.limit
        self._log.notice(f"listening on {url} ({engine.name}, {engine.device}, up to {counted(most, 'session')})")

    def count_rejected_connection(self, status: int) -> None:
        if self._context is not None:
            self._context.metrics.rejections.labels(status).inc()

    async def drain(self) -> None:
        if self._context is not None:
            await self._context.sessions.drain()
