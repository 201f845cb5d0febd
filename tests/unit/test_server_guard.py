"""The access middleware."""

import anyio
import pytest
from starlette.websockets import WebSocketDisconnect

from sca.infer.server.http.access import AccessMiddleware, AccessRules


def open_websocket(app):
    """Open a WebSocket, as uvicorn does."""

    async def nothing(*_):
        return {"type": "websocket.connect"}

    middleware = AccessMiddleware(
        app, lambda: AccessRules(key=None, allowed_origins=(), loopback_only=True, public_paths=())
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


PAGE = "https://voice.example.com"


def respond(method, origin, *headers, key="k"):
    """Send a request of a page; return the status and the headers of the response."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 201, "headers": [(b"location", b"/calls/1")]})

    async def send(message):
        sent.append(message)

    middleware = AccessMiddleware(
        app, lambda: AccessRules(key=key, allowed_origins={PAGE}, loopback_only=False, public_paths=())
    )
    given = [(b"host", b"127.0.0.1:8000"), (b"origin", origin.encode()), *headers]
    scope = {"type": "http", "method": method, "path": "/v1/realtime/calls", "headers": given, "client": ("1.2.3.4", 5)}
    anyio.run(middleware, scope, None, send)
    return sent[0]["status"], dict(sent[0]["headers"])


def test_preflight_of_an_allowed_page_needs_no_key():
    asked = (b"access-control-request-method", b"POST"), (b"access-control-request-headers", b"authorization,x-any")
    status, headers = respond("OPTIONS", PAGE, *asked)
    assert (status, headers[b"access-control-allow-origin"]) == (204, PAGE.encode())
    assert headers[b"access-control-allow-headers"] == b"authorization,x-any"
    assert headers[b"vary"] == b"origin"


def test_preflight_of_another_page_is_rejected():
    status, headers = respond("OPTIONS", "https://other.example.com", (b"access-control-request-method", b"POST"))
    assert status == 403
    assert b"access-control-allow-origin" not in headers


@pytest.mark.parametrize(("key", "status"), [(b"Bearer k", 201), (b"Bearer wrong", 401)])
def test_allowed_page_can_read_responses(key, status):
    found, headers = respond("POST", PAGE, (b"authorization", key))
    assert (found, headers[b"access-control-allow-origin"]) == (status, PAGE.encode())
    assert b"location" in headers[b"access-control-expose-headers"]


def test_question_without_a_method_is_no_preflight():
    assert respond("OPTIONS", PAGE)[0] == 401
