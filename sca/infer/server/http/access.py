"""What every request passes first, over HTTP and WebSocket: host, origin and key. Every answer carries the security headers."""

import json
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio

from sca.infer.server.http.limits import RateLimiter, RequestRejectedError
from sca.infer.server.security import is_loopback, key_matches, origin_allowed, protocol_key

__all__ = ["AccessMiddleware", "Headers", "Scope"]

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Headers = Mapping[str, str]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[Scope, _Receive, _Send], Awaitable[None]]

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class AccessMiddleware:
    """ASGI middleware.

    public: paths that need no key.   origins: further ones that may ask.   local: whether only this machine reaches the server; a
    name that is none of this machine is then refused, so that a page cannot get in by a name of its own that leads here.
    rates: how often each client may ask; None: as it likes.   on_refused: told the status of every refusal.
    signed: paths whose clients prove who they are in another way; the key is then the second one, not needed.
    """

    def __init__(
        self,
        app: _App,
        *,
        key: str | None,
        origins: Collection[str],
        local: bool,
        public: Collection[str],
        signed: Mapping[str, Callable[[Scope, Headers], bool]],
        rates: RateLimiter | None = None,
        on_refused: Callable[[int], object] = lambda status: None,
    ) -> None:
        self._app, self._key, self._origins, self._local, self._public = app, key, origins, local, public
        self._signed, self._rates, self._on_refused = signed, rates, on_refused

    async def __call__(self, scope: Scope, receive: _Receive, send: _Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: MutableMapping[str, Any]) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = list(message.get("headers", []))
                given = {name.lower() for name, _ in headers}
                message["headers"] = headers + [one for one in _HEADERS if one[0] not in given]
            await send(message)

        refusal = self._too_often(scope) or self._refusal(scope)
        if refusal is None:
            with _leaving():
                await self._app(scope, receive, send_safely)
        else:
            self._on_refused(refusal.status)
            await _refuse(scope, receive, send_safely, refusal)

    def _too_often(self, scope: Scope) -> RequestRejectedError | None:
        if self._rates is None:
            return None
        address = (scope.get("client") or ("", 0))[0]
        wait_s = self._rates.wait_s(address, anyio.current_time())
        if wait_s == 0:
            return None
        what = f"too many requests: {self._rates.per_minute} a minute is the limit of a client"
        return RequestRejectedError(429, what, retry_after_s=math.ceil(wait_s))

    def _refusal(self, scope: Scope) -> RequestRejectedError | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host")
        signed = self._signed.get(scope["path"])
        if signed is not None and signed(scope, headers):
            return None
        if self._local and self._key is None and not is_loopback(_name(host)):
            return RequestRejectedError(
                421, "this server answers to names of its own machine, such as 127.0.0.1 and localhost"
            )
        if not origin_allowed(headers.get("origin"), host, self._origins):
            return RequestRejectedError(
                403, "pages of this origin may not use this server; serve.origins names those that may"
            )
        if scope["path"] in self._public or (self._key is None and signed is None):
            return None
        given = headers.get("authorization") or protocol_key(scope.get("subprotocols", []))
        if self._key is not None and key_matches(given, self._key):
            return None
        what = (
            "key is missing or wrong; send `Authorization: Bearer …`"
            if signed is None
            else "signature is missing or wrong"
        )
        return RequestRejectedError(401, f"the {what}")


@contextmanager
def _leaving() -> Iterator[None]:
    """A client may leave at any moment, also before it was let in or told why not; that is nobody's mistake."""
    from starlette.websockets import WebSocketDisconnect

    try:
        yield
    except WebSocketDisconnect:
        logger.debug("a client left before it was answered")


def _name(host: str | None) -> str:
    try:
        return urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return ""


async def _refuse(scope: Scope, receive: _Receive, send: _Send, refusal: RequestRejectedError) -> None:
    status, what = refusal.status, refusal.what
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": what})
            return
    body = json.dumps({"error": {"status": status, "what": what}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
