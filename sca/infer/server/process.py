"""An application as a process: a socket that is ours before anything is loaded, a line when it answers, a clean end on a signal."""

import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from sca.errors import ConfigError, MissingToolError
from sca.infer.server.limits import http_protocol

__all__ = ["listen", "serve"]

_KEEP_ALIVE_S = 75
_DRAIN_S = 10


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises `ConfigError` for an address that is taken or is none."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        what = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host}:{port} ({what})", hint="another --port, or 0 for a free one"
        ) from error
    return listener


def serve(
    app: Any,
    listener: socket.socket,
    *,
    head_timeout_s: float,
    max_connections: int,
    ready: Callable[[str], object],
    on_refused: Callable[[], object],
) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT, then finish what is being answered, for up to 10 s.

    ready: called with the URL when requests are answered from now on.   on_refused: called for a connection too many.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingToolError("the server needs uvicorn", hint="pip install 'sca[turn]'") from error
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(url)
            sys.stderr.flush()

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.should_exit = True  # and no more: uvicorn would raise the signal again after a clean end

    protocol = http_protocol(head_timeout_s, max_connections, lambda: _too_many(max_connections), on_refused)
    Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=max(128, max_connections),
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
        )
    ).run(sockets=[listener])


def _too_many(max_connections: int) -> bytes:
    what = f"{max_connections} connections are open, and that is the limit"
    body = json.dumps({"error": {"status": 503, "what": what}}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
