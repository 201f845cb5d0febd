"""`GET` and `HEAD` of `/health` and `/ready`, `GET /metrics`, `GET /v1/models` and `GET /api/engine`."""

import time
from typing import TYPE_CHECKING

from sca.infer.generation import GenerationOptions
from sca.infer.server.core.metrics_process import METRICS_MEDIA_TYPE
from sca.infer.server.core.probes import add_probes

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoints."""
    from starlette.responses import PlainTextResponse, Response

    started = int(time.time())
    add_probes(app, lambda: PlainTextResponse("ok"), context.sessions.refusal)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(context.metrics.text(), media_type=METRICS_MEDIA_TYPE)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        name = context.engine.info.name
        return {"object": "list", "data": [{"id": name, "object": "model", "created": started, "owned_by": "sca"}]}

    @app.get("/api/engine")
    async def engine() -> dict[str, object]:
        """What clients talk to, and what a session may choose."""
        info, settings = context.engine.info, context.settings
        return {
            "name": info.name,
            "summary": info.summary,
            "device": info.device,
            "parts": [{"part": part, "name": name} for part, name in info.parts],
            "voices": list(info.voices),
            "voice": info.voice,
            "follows_prompt": info.follows_prompt,
            "hears_words": info.hears_words,
            "generation": list(GenerationOptions.names()) if info.follows_generation else [],
            "produces_audio": info.produces_audio,
            "examples": list(info.examples),
            "chunk_ms": float(settings.grid.chunk_s * 1000),
            "resume_s": settings.serve.resume_s,
        }
