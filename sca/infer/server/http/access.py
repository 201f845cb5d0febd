"""ASGI middleware that checks rate, host, origin and key of each request, and adds security headers to each response."""

import json
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import anyio

from sca.infer.server.core.errors import RequestRejectedError, error_document
from sca.infer.server.core.limits import RateLimiter, client_key
from sca.infer.server.core.security import bearer_token, is_loopback, key_matches, origin_allowed, protocol_key
from sca.infer.server.core.sessions import CLIENT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sca.infer.server.core.state import SignatureCheck

__all__ = ["AccessMiddleware", "AccessRules"]

logger = logging.getLogger(__name__)

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Who may use a server.

    Attributes:
        key: The key that clients have to send; None for no key.
        allowed_origins: Origins of pages that may use the server, besides its own.
        loopback_only: Whether only this machine can reach the server. Without a key, requests for a host name of another
            machine are then rejected; otherwise a page could use the server under a name of its own that resolves to it.
        public_paths: Paths that need no key.
        signature_checks: The check of each path that accepts a signature instead of the key.
        client_secret_paths: Paths that accept a client secret instead of the key.
        is_client_secret: Whether a value is a valid client secret.
        rate_limiter: Limits the requests of each client; None for no limit.
        scheme: The scheme of the Authorization header that responses ask for.
        setting: The setting that lists the origins, for messages.
    """

    key: str | None
    allowed_origins: Collection[str]
    loopback_only: bool
    public_paths: Collection[str]
    signature_checks: "Mapping[str, SignatureCheck]" = field(default_factory=dict)
    client_secret_paths: Collection[str] = ()
    is_client_secret: Callable[[str | None], bool] = lambda value: False
    rate_limiter: RateLimiter | None = None
    scheme: Literal["Bearer", "Key"] = "Bearer"
    setting: str = "serve.origins"


class AccessMiddleware:
    """The middleware around the application of a server.

    Args:
        app: The application.
        rules: Returns the rules, which may change while the server runs.
        on_rejected: Called with the status of every rejection.
    """

    def __init__(
        self,
        app: "ASGIApp",
        rules: Callable[[], AccessRules],
        on_rejected: Callable[[int], object] = lambda status: None,
    ) -> None:
        self._app, self._rules, self._on_rejected = app, rules, on_rejected

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle a request. See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        rules = self._rules()
        cors_headers = _cors_headers(scope, rules)

        async def send_with_headers(message: "Message") -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = [*message.get("headers", []), *cors_headers]
                given = {name.lower() for name, _ in headers}
                message["headers"] = headers + [header for header in _HEADERS if header[0] not in given]
            await send(message)

        rejection = _check_rate(scope, rules)
        if rejection is None and cors_headers and _is_preflight(scope):
            await _allow_request(scope, send_with_headers)
            return
        rejection = rejection or _check_access(scope, rules)
        if rejection is None:
            with _ignore_disconnect():
                await self._app(scope, receive, send_with_headers)
        else:
            self._on_rejected(rejection.status)
            await _reject(scope, receive, send_with_headers, rejection, rules.scheme)


def _cors_headers(scope: "Scope", rules: AccessRules) -> list[tuple[bytes, bytes]]:
    """Return the headers that let a page of another origin read the response, if the page may use the server."""
    origin = next((value for name, value in scope["headers"] if name == b"origin"), b"")
    if scope["type"] != "http" or origin.decode("latin-1") not in rules.allowed_origins:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"location, retry-after"),
        (b"vary", b"origin"),
    ]


def _check_rate(scope: "Scope", rules: AccessRules) -> RequestRejectedError | None:
    if rules.rate_limiter is None:
        return None
    address = (scope.get("client") or ("", 0))[0]
    wait_s = rules.rate_limiter.acquire(address, anyio.current_time())
    if wait_s == 0:
        return None
    message = f"too many requests: a client may send {rules.rate_limiter.per_minute} per minute"
    return RequestRejectedError(429, message, retry_after_s=math.ceil(wait_s))


def _check_access(scope: "Scope", rules: AccessRules) -> RequestRejectedError | None:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    host, path = headers.get("host"), scope["path"]
    has_signature = rules.signature_checks.get(path)
    if has_signature is not None and has_signature(headers):
        return None
    if rules.loopback_only and rules.key is None and not is_loopback(_host_name(host)):
        return RequestRejectedError(
            421, "this server answers to names of its own machine, such as 127.0.0.1 and localhost"
        )
    if not origin_allowed(headers.get("origin"), host, rules.allowed_origins):
        return RequestRejectedError(
            403, f"pages of this origin may not use this server; {rules.setting} lists the origins that may"
        )
    scope[CLIENT] = _client_by_address(scope)
    if path in rules.public_paths or (rules.key is None and has_signature is None):
        return None
    given = headers.get("authorization") or protocol_key(scope.get("subprotocols", []))
    if rules.key is not None and key_matches(given, rules.key):
        return None
    secret = bearer_token(given)
    if path in rules.client_secret_paths and rules.is_client_secret(secret):
        scope[CLIENT] = f"secret {sha256((secret or '').encode('utf-8', 'replace')).hexdigest()}"
        return None
    if has_signature is not None:
        return RequestRejectedError(401, "the signature is missing or wrong")
    return RequestRejectedError(401, f"the key is missing or wrong; send `Authorization: {rules.scheme} …`")


def _client_by_address(scope: "Scope") -> str | None:
    """Return the client that an address stands for; None for this machine, whose programs are not told apart."""
    address = str((scope.get("client") or ("", 0))[0])
    return None if is_loopback(address) else client_key(address)


def _is_preflight(scope: "Scope") -> bool:
    """Return whether a browser asks if a page may send a request. It sends no key with this question."""
    names = {name for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in names


async def _allow_request(scope: "Scope", send: "Send") -> None:
    """Respond to such a question. The key is checked with the request itself."""
    wanted = [value for name, value in scope["headers"] if name == b"access-control-request-headers"]
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b", ".join(wanted)),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def _ignore_disconnect() -> Iterator[None]:
    """Ignore that a client disconnected before it got a response, which can happen at any time and is not an error."""
    from starlette.websockets import WebSocketDisconnect

    try:
        yield
    except WebSocketDisconnect:
        logger.debug("a client disconnected before it got a response")


def _host_name(host: str | None) -> str:
    try:
        return urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return ""


async def _reject(scope: "Scope", receive: "Receive", send: "Send", error: RequestRejectedError, scheme: str) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        await receive()
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.message})
            return
    body = json.dumps(error_document(error.status, error.message)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers()}
    if error.status == 401:
        headers["www-authenticate"] = scheme
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.start", "status": error.status, "headers": raw_headers})
    await send({"type": f"{kind}.body", "body": body})
