"""`GET /health`, `GET /metrics` and `GET /v1/models`."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoints."""
    from starlette.responses import PlainTextResponse, Response

    started = int(time.time())

    @app.get("/health", response_class=PlainTextResponse)
    async def health() -> str:
        return "ok"

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        name = context.engine.info.name
        return {"object": "list", "data": [{"id": name, "object": "model", "created": started, "owned_by": "sca"}]}
