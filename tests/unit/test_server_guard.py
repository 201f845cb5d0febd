"""The access middleware."""

import anyio
import pytest
from starlette.websockets import WebSocketDisconnect

from sca.infer.server.http.access import AccessMiddleware


def open_websocket(app):
    """Open a WebSocket, as uvicorn does."""

    async def nothing(*_):
        return {"type": "websocket.connect"}

    middleware = AccessMiddleware(
        app, key=None, allowed_origins=(), loopback_only=True, public_paths=(), signature_checks={}
    )
    scope = {
        "type": "websocket",
        "path": "/ws/pcm16",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "client": ("127.0.0.1", 5),
    }
    anyio.run(middleware, scope, nothing, nothing)


def test_disconnect_before_the_response_is_ignored():
    reached = []

    async def app(*_):
        reached.append(True)
        raise WebSocketDisconnect(1006)

    open_websocket(app)
    assert reached == [True]


def test_other_exceptions_propagate():
    async def app(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_websocket(app)
