"""An application as a process: a socket that is ours before anything is loaded, a line when it answers, a clean end on a signal."""

import asyncio
import gc
import json
import logging
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sca.errors import ConfigError, MissingToolError
from sca.infer.server.http.limits import http_protocol
from sca.infer.server.ws.websocket_protocol import websocket_protocol

__all__ = ["ConnectionLimits", "Tls", "WebSockets", "listen", "serve", "server_config"]

_KEEP_ALIVE_S = 75
_SWITCH_S = 0.0001
_DRAIN_S = 10
_UNSENT_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class WebSockets:
    """What a server that speaks them needs.

    max_message_bytes: the largest, of a client's.   drain: awaited when the server is told to stop, before connections are closed.
    ping_s, ping_timeout_s: how often a client is asked whether it is there (0: never), and how long it may take to answer.
    """

    max_message_bytes: int
    drain: Callable[[], Awaitable[object]]
    ping_s: float = 20.0
    ping_timeout_s: float = 20.0

    def options(self) -> dict[str, Any]:
        """For uvicorn."""
        return {
            "ws": websocket_protocol(),
            "ws_max_size": self.max_message_bytes,
            "ws_per_message_deflate": False,  # sound does not shrink, and what is never unpacked is no bomb
            "ws_ping_interval": self.ping_s or None,
            "ws_ping_timeout": self.ping_timeout_s,
        }


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its key as PEM files. Raises `ConfigError` when they cannot be read or do not belong together."""

    cert: Path
    key: Path | None = None

    def __post_init__(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password="")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise ConfigError(
                f"cannot use the certificate {self.cert} ({error})",
                hint="--tls-cert is a PEM file with the chain, --tls-key its private key without a password",
            ) from error


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises `ConfigError` for an address that is taken or is none."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(
                socket, "TCP_NOTSENT_LOWAT"
            ):  # or the kernel would hide seconds of sound that a client does not take
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
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


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may take.

    head_s, body_s: time until the head of a request, and the body after it, is there.   connections: most at the same time.
    on_refused: called for a connection too many.   proxies: addresses whose X-Forwarded-For is believed, separated by commas.
    """

    head_s: float
    body_s: float
    connections: int
    on_refused: Callable[[], object]
    proxies: str = ""


def server_config(
    app: Any,
    bounds: ConnectionLimits,
    *,
    websockets: WebSockets | None = None,
    tls: Tls | None = None,
    extra: str = "turn",
) -> Any:
    """How uvicorn serves an ASGI application here. See `serve`."""
    try:
        import uvicorn
    except ImportError as error:
        raise MissingToolError("the server needs uvicorn", hint=f"pip install 'sca[{extra}]'") from error
    _quiet()
    most = bounds.connections
    return uvicorn.Config(
        app,
        http=http_protocol(bounds.head_s, bounds.body_s, most, lambda: _too_many(most), bounds.on_refused),
        **({"ws": "none"} if websockets is None else websockets.options()),
        ssl_certfile=None if tls is None else tls.cert,
        ssl_keyfile=None if tls is None else tls.key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(bounds.proxies),
        forwarded_allow_ips=bounds.proxies,
        backlog=max(128, most),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )


def serve(
    app: Any,
    listener: socket.socket,
    bounds: ConnectionLimits,
    *,
    ready: Callable[[str], object],
    extra: str = "turn",
    websockets: WebSockets | None = None,
    tls: Tls | None = None,
) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT, then finish what is being answered, for up to 10 s.

    ready: called with the URL when requests are answered from now on.   extra: what of sca to install for it.
    websockets: None speaks HTTP only.
    A second signal does not wait for `WebSockets.drain`.
    """
    config = server_config(app, bounds, websockets=websockets, tls=tls, extra=extra)
    import uvicorn

    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    url = f"{'http' if tls is None else 'https'}://{name}:{port}"

    class Server(uvicorn.Server):
        _draining: asyncio.Task[None] | None = None
        _signals = 0

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self._loop = asyncio.get_running_loop()
            # What is there by now stays: a full collection that walks all of it again holds every session up for as long.
            gc.collect()
            gc.freeze()
            # A step in the worker's thread takes the interpreter's lock anew after every call of a model, and each time waits for
            # as long as the loop may keep it.
            sys.setswitchinterval(_SWITCH_S)
            ready(url)
            sys.stderr.flush()

        def handle_exit(self, sig: int, frame: Any) -> None:
            self._signals += 1
            if websockets is None:
                self.should_exit = True  # and no more: uvicorn would raise the signal again after a clean end
            elif self._signals == 1:
                self._loop.call_soon_threadsafe(self._drain)
            else:
                self.should_exit = True

        def _drain(self) -> None:
            self._draining = asyncio.create_task(self._drained())

        async def _drained(self) -> None:
            assert websockets is not None
            try:
                await websockets.drain()
            finally:
                self.should_exit = True

    Server(config).run(sockets=[listener])


def _quiet() -> None:
    """Keep uvicorn's log to warnings, whatever the level of others: below that it writes heads and messages of clients, keys too.

    What it calls an error when a WebSocket is answered with a refusal is none.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing handshake" not in record.getMessage()
    )


def _too_many(max_connections: int) -> bytes:
    what = f"{max_connections} connections are open, and that is the limit"
    body = json.dumps({"error": {"status": 503, "what": what}}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
