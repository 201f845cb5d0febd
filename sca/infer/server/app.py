"""The live server: one engine, its device's worker, and the doors to it. A door is a function `add(app, server)`."""

import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sca.errors import MissingToolError
from sca.infer.device_worker import ThreadWorker
from sca.infer.engine import BatchEngine, Engine, SessionConfig
from sca.infer.server import metrics
from sca.infer.server.http import infer_wav, page
from sca.infer.server.http.access import AccessMiddleware, Headers, Scope
from sca.infer.server.http.limits import RateLimiter
from sca.infer.server.http.uvicorn_server import ConnectionLimits, Tls, WebSockets, listen, serve
from sca.infer.server.metrics import LiveMetrics, Meter
from sca.infer.server.protocols import pcm16, twilio
from sca.infer.server.protocols.realtime import session as realtime
from sca.infer.server.security import KEY_PROTOCOL, check_bind, is_loopback
from sca.infer.server.ws.resume import RESUME_PROTOCOL
from sca.infer.server.ws.session_slots import SessionRegistry
from sca.infer.session.loop import LiveSession
from sca.infer.session.step_batcher import StepBatcher

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from sca.config import Settings
    from sca.infer.clock import Clock
    from sca.infer.interfaces import AudioSink, AudioSource, SessionListener

__all__ = ["DOORS", "ServerContext", "make_app", "run"]


class ServerContext:
    """What doors share.

    sessions: who is in.   public: paths that need no key; a door adds those of its own that hold nothing secret.
    signed: paths whose clients may show who they are in another way, and how that is judged.
    """

    def __init__(self, engine: Engine, settings: "Settings") -> None:
        self.engine, self.settings = engine, settings
        self.sessions = SessionRegistry(settings.serve)
        self.metrics = LiveMetrics(self.sessions)
        self.public = {"/health"}
        self.signed: dict[str, Callable[[Scope, Headers], bool]] = {}
        self._worker: ThreadWorker | None = None
        self._batcher: StepBatcher | None = None

    @property
    def worker(self) -> ThreadWorker:
        """The one thread of the engine's device; all sessions take turns in it. Made on the event loop."""
        if self._worker is None:
            self._worker = ThreadWorker(self.engine.info.device)
        return self._worker

    @property
    def bounds(self) -> ConnectionLimits:
        """What a connection may take."""
        serve = self.settings.serve
        refused = self.metrics.refusals.labels(503).inc
        return ConnectionLimits(
            serve.head_timeout_s, serve.body_timeout_s, serve.max_connections, refused, serve.proxies
        )

    @property
    def websockets(self) -> WebSockets:
        """What a process that serves it has to know of WebSockets."""
        serve = self.settings.serve
        return WebSockets(serve.max_message_bytes, self.sessions.drain, serve.ping_s, serve.ping_timeout_s)

    @property
    def batcher(self) -> StepBatcher | None:
        """What steps the sessions together, where the engine can."""
        if self._batcher is None and isinstance(self.engine, BatchEngine):
            wait_s = self.settings.live.batch_wait_ms / 1000 if self.engine.info.benefits_from_batching else 0.0
            self._batcher = StepBatcher(self.engine, self.worker, wait_s)
        return self._batcher

    def live(
        self,
        source: "AudioSource",
        sink: "AudioSink",
        clock: "Clock",
        config: SessionConfig,
        listeners: Sequence["SessionListener"] = (),
    ) -> LiveSession:
        """A session of the engine, not yet running."""
        return LiveSession(
            self.engine, source, sink,
            clock=clock, worker=self.worker, config=config, live=self.settings.live, listeners=[Meter(self.metrics), *listeners],
            batcher=self.batcher,
        )  # fmt: skip

    async def accept(self, websocket: "WebSocket") -> None:
        """Accept a connection, with the first subprotocol offered that holds no secret: browsers want one of theirs back."""
        secret = (KEY_PROTOCOL, RESUME_PROTOCOL)
        offered = [one for one in websocket.scope.get("subprotocols", []) if not one.startswith(secret)]
        await websocket.accept(subprotocol=offered[0] if offered else None)

    def close(self) -> None:
        """Let the device's thread go."""
        if self._worker is not None:
            self._worker.close()


def _health(app: "FastAPI", server: ServerContext) -> None:
    from starlette.responses import PlainTextResponse

    @app.get("/health", response_class=PlainTextResponse)
    async def health() -> str:
        return "ok"


DOORS: tuple[Callable[["FastAPI", ServerContext], None], ...] = (
    _health,
    page.add,
    pcm16.add,
    realtime.add,
    twilio.add,
    infer_wav.add,
    metrics.add,
)


def make_app(server: ServerContext) -> AccessMiddleware:
    """The ASGI application with all doors, behind the guard."""
    try:
        from fastapi import FastAPI, Request
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse
    except ImportError as error:
        raise MissingToolError("the server needs fastapi and uvicorn", hint="pip install 'sca[serve]'") from error
    from sca.version import __version__

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        server.close()

    # The pages of interactive documentation load scripts of others; /openapi.json says the same.
    app = FastAPI(title="sca", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> "Response":
        document = {"error": {"status": error.status_code, "what": f"{request.method}: {error.detail}"}}
        return JSONResponse(document, error.status_code, error.headers)

    for add in DOORS:
        add(app, server)
    config = server.settings.serve
    return AccessMiddleware(
        app,
        key=_key(server.settings),
        origins=config.allowed_origins,
        local=is_loopback(config.host),
        public=server.public,
        signed=server.signed,
        rates=None if config.requests_per_minute is None else RateLimiter(config.requests_per_minute),
        on_refused=lambda status: server.metrics.refusals.labels(status).inc(),
    )


def _key(settings: "Settings") -> str | None:
    key = settings.serve.auth_key
    return None if key is None else key.get_secret_value()


def run(settings: "Settings", *, insecure: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; then sessions are told and may finish what they say.

    The line `sca serve: listening on URL` on stderr says that clients are answered from now on. Raises `ConfigError` for an address
    that is taken, is none, or is reachable without a key, and what loading the engine raises.
    """
    from sca.infer.engines.registry import load_engine

    config, key = settings.serve, _key(settings)
    check_bind(config.host, key, insecure=insecure)
    if key is None and not is_loopback(config.host):
        sys.stderr.write(f"sca serve: --insecure: anyone who reaches {config.host} may use this server\n")
    tls = None if config.tls_cert is None else Tls(config.tls_cert, config.tls_key)
    logging.basicConfig(level=logging.WARNING, format="sca serve: %(message)s")
    logging.getLogger("sca").setLevel(logging.INFO)
    with listen(config.host, config.port) as listener:
        server = ServerContext(load_engine(settings.live.engine, settings), settings)
        serve(
            make_app(server),
            listener,
            server.bounds,
            ready=lambda url: sys.stderr.write(
                f"sca serve: listening on {url} ({server.engine.info.name}, {server.engine.info.device}, "
                f"up to {config.max_sessions} sessions)\n"
            ),
            extra="serve",
            websockets=server.websockets,
            tls=tls,
        )
    sys.stderr.write("sca serve: stopped\n")
