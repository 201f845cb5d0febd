"""The first thing a request passes."""

import anyio
import pytest
from starlette.websockets import WebSocketDisconnect

from sca.infer.server.http.access import AccessMiddleware


def asked(app):
    """Ask, as uvicorn would, for a WebSocket."""

    async def nothing(*_):
        return {"type": "websocket.connect"}

    guard = AccessMiddleware(
        app, key=None, allowed_origins=(), loopback_only=True, public_paths=(), signature_checks={}
    )
    scope = {
        "type": "websocket",
        "path": "/ws/pcm16",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "client": ("127.0.0.1", 5),
    }
    anyio.run(guard, scope, nothing, nothing)


def test_a_client_that_leaves_before_it_is_let_in_is_nobodys_mistake():
    reached = []

    async def app(*_):
        reached.append(True)
        raise WebSocketDisconnect(1006)

    asked(app)
    assert reached == [True]


def test_our_own_mistakes_come_out():
    async def app(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asked(app)
