"""The page to talk to the server: static files that ship in the package, from a fixed list, with the headers of a page that
loads nothing from elsewhere. Knows nothing of sessions; `sca/resources/page/line.js` speaks `WS /ws/pcm16`.
"""

from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sca.infer.server.app import ServerContext

__all__ = ["add"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_INDEX = "index.html"

_HEADERS = {
    # 'self' covers the page's own WebSocket; the empty favicon is the one data: there is.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


def add(app: "FastAPI", server: "ServerContext") -> None:
    """Add `GET /` and the files it asks for (`/page/…`). They need no key: what the page does with one, it asks its user for."""
    for name, body in _files().items():
        path = "/" if name == _INDEX else f"/page/{name}"
        app.add_route(path, _answer(name, body), methods=["GET"], include_in_schema=False)
        server.public.add(path)


def _files() -> dict[str, bytes]:
    found = [one for one in (files("sca.resources") / "page").iterdir() if _suffix(one.name) in _TYPES]
    return {one.name: one.read_bytes() for one in found}


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _answer(name: str, body: bytes) -> Any:
    headers = _HEADERS | {"ETag": f'"{sha256(body).hexdigest()[:32]}"'}

    async def answer(request: "Request") -> "Response":
        from starlette.responses import Response

        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=_TYPES[_suffix(name)])

    return answer
