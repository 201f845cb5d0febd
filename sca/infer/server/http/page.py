"""Web pages of static files of the package, with headers that let them load nothing from other hosts; that of the live server.

It opens a session over `WS /ws/pcm16`; see `sca/resources/page/line.js`.
"""

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sca.infer.server.core.state import ServerContext

__all__ = ["add", "add_page", "page_files"]

_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_INDEX = "index.html"

_HEADERS = {
    # 'self' includes the WebSocket of the page; data: is for its empty favicon, blob: for sound that its script fetched.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; media-src blob:; "
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
    context.public_paths.update(add_page(app, page_files("page")))


def add_page(app: "FastAPI", contents: Mapping[str, bytes]) -> list[str]:
    """Add `GET /` and the files that it loads from `/page/`, and return their paths.

    Args:
        app: The application.
        contents: The files by name; `index.html` is the page.
    """
    paths = {name: "/" if name == _INDEX else f"/page/{name}" for name in contents}
    for name, body in contents.items():
        app.add_route(paths[name], _file_endpoint(name, body), methods=["GET"], include_in_schema=False)
    return list(paths.values())


def page_files(folder: str) -> dict[str, bytes]:
    """Return the files of a page by name.

    Args:
        folder: Their folder in `sca.resources`.
    """
    root = files("sca.resources") / folder
    return {file.name: file.read_bytes() for file in root.iterdir() if _suffix(file.name) in _CONTENT_TYPES}


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
