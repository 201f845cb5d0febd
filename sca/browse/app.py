"""The server of `sca browse`: its routes, and how it starts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from sca.browse.browser import Browser, Build
from sca.browse.data_set import open_data_set
from sca.browse.index import open_index
from sca.browse.marks import Marks
from sca.browse.messages import HistogramsRequest, MarkRequest, RowsRequest
from sca.browse.table import Table
from sca.config import Settings, secret_text
from sca.data.duplex.inspect.html import AUDIO_TYPE
from sca.distribution import install_extra
from sca.errors import MissingToolError, ScaError, UpstreamError, UsageError
from sca.infer.server.app import connection_limits
from sca.infer.server.core.errors import error_document
from sca.infer.server.core.security import check_bind, is_loopback
from sca.infer.server.http.access import AccessMiddleware, AccessRules
from sca.infer.server.http.page import add_page, page_files
from sca.infer.server.transport.uvicorn_server import TlsFiles, listen, serve

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["make_app", "marks_path", "open_browser", "run"]

_MAX_ID_CHARS = 1000


def marks_path(data: str) -> Path:
    """Return where the marks of a data set are: beside its folder, or for a URL in the working folder."""
    if "://" in data:
        return Path(f"{data.rstrip('/').rpartition('/')[2]}.drops.jsonl")
    folder = Path(data).resolve()
    return folder.with_name(f"{folder.name}.drops.jsonl")


def open_browser(data: str, against: str | None, drops: Path | None, cache_dir: Path) -> Browser:
    """Open data sets and their indexes.

    Args:
        data: The data set: a folder, an export or a URL.
        against: The one to compare with; None for none.
        drops: The list of marks; None for `marks_path`.
        cache_dir: The folder of caches.

    Raises:
        InputError: One is not a duplex data set, or the list is damaged.
        UpstreamError: A URL cannot be read.
        OutputError: The cache cannot be written.
    """
    opened = open_data_set(data)
    other = None if against is None else open_data_set(against)
    return Browser(
        opened,
        Table(open_index(opened, cache_dir)),
        Marks(marks_path(opened.name) if drops is None else drops),
        None if other is None else (other, Table(open_index(other, cache_dir))),
    )


def make_app(browser: Browser, settings: Settings) -> AccessMiddleware:
    """Return the ASGI application, inside the access middleware of the live server.

    Raises:
        MissingToolError: fastapi is not installed.
    """
    try:
        from fastapi import FastAPI, Request
        from fastapi.exceptions import RequestValidationError
        from starlette.responses import JSONResponse
    except ImportError as error:
        raise MissingToolError("sca browse needs fastapi and uvicorn", hint=install_extra("serve")) from error

    app = FastAPI(title="sca browse", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(ScaError)
    async def failed(request: Request, error: ScaError) -> JSONResponse:
        status = 400 if isinstance(error, UsageError) else 502 if isinstance(error, UpstreamError) else 500
        message = error.message if error.hint is None else f"{error.message}: {error.hint}"
        return JSONResponse(error_document(status, message), status)

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return JSONResponse(error_document(422, f"{where}: {first['msg']}"), 422)

    _add_routes(app, browser)
    config, key = settings.serve, secret_text(settings.serve.auth_key)
    rules = AccessRules(key, config.allowed_origins, is_loopback(config.host), set(add_page(app, _page())))
    return AccessMiddleware(app, lambda: rules)


def _add_routes(app: "FastAPI", browser: Browser) -> None:
    """Add the endpoints. They are functions and not coroutines, so each runs in a thread."""
    from fastapi import Query
    from starlette.responses import Response

    row_id = Annotated[str, Query(max_length=_MAX_ID_CHARS)]

    @app.get("/api/info")
    def info() -> dict[str, object]:
        return browser.info()

    @app.post("/api/rows")
    def rows(request: RowsRequest) -> dict[str, object]:
        return browser.rows(request)

    @app.post("/api/histograms")
    def histograms(request: HistogramsRequest) -> dict[str, object]:
        return browser.histograms(request.filter)

    @app.get("/api/row")
    def row(id: row_id, build: Build = "here") -> dict[str, object]:  # noqa: A002
        return browser.row(build, id)

    @app.get("/api/sound", response_class=Response)
    def sound(id: row_id, build: Build = "here") -> Response:  # noqa: A002
        return Response(browser.sound(build, id), media_type=AUDIO_TYPE)

    @app.post("/api/marks")
    def mark(request: MarkRequest) -> dict[str, object]:
        return browser.mark(request)

    @app.post("/api/undo")
    def undo() -> dict[str, object]:
        return browser.undo()


def _page() -> dict[str, bytes]:
    """Return the files of the page. The player and its script are those of `sca inspect --html`."""
    shared = page_files("inspect")
    files = page_files("browse") | {name: shared[name] for name in ("page.css", "view.js")}
    return files | {"index.html": files["index.html"].replace(b"{{player}}", shared["player.html"])}


def run(
    data: str, settings: Settings, *, row: str | None, against: str | None, drops: Path | None, insecure: bool
) -> None:
    """Serve until SIGTERM or SIGINT. Prints `sca browse: listening on URL` to stderr once requests are answered.

    Args:
        data: The data set: a folder, an export or a URL.
        settings: The settings; the address and the key are those of the live server.
        row: The row that the printed URL opens; None for none.
        against: The data set to compare with; None for none.
        drops: The list of marks; None for the one beside the data set.
        insecure: Whether a server that other machines can reach may run without a key.

    Raises:
        ConfigError: The address is taken, is not an address, or is reachable without a key.
        ScaError: A data set cannot be opened.
    """
    config, key = settings.serve, secret_text(settings.serve.auth_key)
    check_bind(config.host, key, insecure=insecure)
    tls = TlsFiles.of(config)
    with listen(config.host, config.port) as listener:
        sys.stderr.write(f"sca browse: reading {data}\n")
        browser = open_browser(data, against, drops, settings.paths.resolved_cache_dir)
        place = "" if row is None else f"/#row={quote(browser.find(row), safe='')}"
        serve(
            make_app(browser, settings),
            listener,
            connection_limits(config, lambda status: None),
            on_ready=lambda url: sys.stderr.write(f"sca browse: listening on {url}{place}\n"),
            extra="serve",
            tls=tls,
        )
    sys.stderr.write("sca browse: stopped\n")
