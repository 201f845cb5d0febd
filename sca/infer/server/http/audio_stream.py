"""`GET /api/audio-stream`: the spoken audio of a session as a stream of raw samples, for players and other programs.

The stream is int16 little-endian mono at 48 kHz. While nothing is spoken, a little silence keeps the connection open.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sca.infer.server.core.errors import error_document
from sca.infer.session.broadcast import STREAM_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]

_IDLE_S = 0.5
_SILENCE = bytes(2 * STREAM_HZ // 50)
_MAX_ID_CHARS = 100
_MEDIA_TYPE = "application/octet-stream"
_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {"description": "Int16 little-endian mono at 48 kHz, without an end.", "content": {_MEDIA_TYPE: {}}},
    404: {"description": "The session is not open.", "content": {"application/json": {}}},
}


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoint."""
    from starlette.responses import JSONResponse, Response, StreamingResponse

    @app.get("/api/audio-stream", response_class=Response, responses=_RESPONSES)
    async def audio_stream(session: str | None = None) -> Response:
        if session is not None and not any(slot.id == session for slot in context.sessions):
            shown = session[:_MAX_ID_CHARS]
            return JSONResponse(error_document(404, f"no session {shown!r} is open"), 404)
        headers = {
            "X-Audio-Rate": str(STREAM_HZ),
            "X-Audio-Channels": "1",
            "X-Audio-Format": "s16le",
            "Cache-Control": "no-store",
        }
        return StreamingResponse(_blocks(context, session), headers=headers, media_type=_MEDIA_TYPE)


async def _blocks(context: "ServerContext", session_id: str | None) -> AsyncIterator[bytes]:
    with context.broadcast.subscribe(session_id) as subscription:
        yield _SILENCE  # so that the client gets the headers now
        async for block in subscription.blocks(_IDLE_S):
            if context.sessions.stopping:
                return
            yield block or _SILENCE
