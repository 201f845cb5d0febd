"""The web page of the live server: static files of the package, with headers that let it load nothing from other hosts.

The page opens a session over `WS /ws/pcm16`; see `sca/resources/page/line.js`.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]

_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_INDEX = "index.html"

_HEADERS = {
    # 'self' includes the WebSocket of the page; data: is for its empty favicon.
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


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add `GET /` and the files that it loads from `/page/`.

    They need no key: the page asks its user for the key and sends it with the WebSocket.
    """
    for name, body in _page_files().items():
        path = "/" if name == _INDEX else f"/page/{name}"
        app.add_route(path, _file_endpoint(name, body), methods=["GET"], include_in_schema=False)
        context.public_paths.add(path)


def _page_files() -> dict[str, bytes]:
    folder = files("sca.resources") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in _CONTENT_TYPES}


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _file_endpoint(name: str, body: bytes) -> "Callable[[Request], Awaitable[Response]]":
    headers = _HEADERS | {"ETag": f'"{sha256(body).hexdigest()[:32]}"'}

    async def send_file(request: "Request") -> "Response":
        from starlette.responses import Response

        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=_CONTENT_TYPES[_suffix(name)])

    return send_file
