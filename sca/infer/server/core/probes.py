"""`GET` and `HEAD` of `/health` and `/ready`, for both servers, and the application that answers while one is loading.

Alive and ready are two questions: a process that does not answer `/health` is restarted, and one that is not ready
gets no requests for the moment.
"""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from sca.infer.server.core.errors import error_document

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PROBE_PATHS", "StartingApp", "add_probes"]

PROBE_PATHS = frozenset({"/health", "/ready"})
"""Paths that need no key."""

_RETRY_AFTER = {"Retry-After": "1"}


def add_probes(app: "FastAPI", alive: "Callable[[], Response]", not_ready: Callable[[], str | None]) -> None:
    """Add the endpoints.

    Args:
        app: The application.
        alive: Returns the response of `/health`.
        not_ready: Returns why the server should get no requests now; None if it is ready.
    """
    from starlette.responses import JSONResponse, Response

    def health() -> Response:
        return alive()

    def ready() -> Response:
        reason = not_ready()
        if reason is None:
            return JSONResponse({"ok": True})
        return JSONResponse(error_document(503, reason), 503, _RETRY_AFTER)

    # Two routes each: a schema with both methods of one function would give both the same id.
    for path, respond in (("/health", health), ("/ready", ready)):
        _add(app, path, respond)


def _add(app: "FastAPI", path: str, respond: "Callable[[], Response]") -> None:
    from starlette.responses import Response

    async def probe() -> Response:
        return respond()

    probe.__name__ = path.removeprefix("/")
    app.add_api_route(path, probe, methods=["GET"], response_class=Response)
    app.add_api_route(path, probe, methods=["HEAD"], response_class=Response, include_in_schema=False)


class StartingApp:
    """An application that is loaded while its server already answers probes.

    Until then `/health` is 200 and everything else is 503, so that an orchestrator can tell a server that loads a large
    model from one that hangs.

    Args:
        make_app: Loads and returns the application. Runs in a thread.
        health_body: The body of `/health`, the same as later.
        media_type: Its content type.
    """

    def __init__(
        self, make_app: "Callable[[], ASGIApp]", health_body: bytes, media_type: str = "application/json"
    ) -> None:
        self._make_app = make_app
        self._health_body, self._media_type = health_body, media_type
        self._app: ASGIApp | None = None

    def load(self) -> None:
        """Load the application. Raises what `make_app` raises."""
        self._app = self._make_app()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle a request. See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._respond(scope["path"], send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "the server is starting"})

    async def _respond(self, path: str, send: "Send") -> None:
        alive = path == "/health"
        body = self._health_body if alive else json.dumps(error_document(503, "the server is starting")).encode()
        headers = [
            (b"content-type", self._media_type.encode() if alive else b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        headers += [] if alive else [(b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": 200 if alive else 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: "Receive", send: "Send") -> None:
        """Start at once. At the end, the application that was loaded meanwhile goes through its own start and end."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._app is not None:
            messages: asyncio.Queue[Message] = asyncio.Queue()
            for kind in ("lifespan.startup", "lifespan.shutdown"):
                messages.put_nowait({"type": kind})
            await self._app({"type": "lifespan", "state": {}}, messages.get, _discard)
        await send({"type": "lifespan.shutdown.complete"})


async def _discard(message: "Message") -> None:
    pass
