"""Runs an ASGI application under uvicorn.

The socket is bound before anything is loaded, a callback runs once requests are answered, and a signal ends it cleanly.
"""

import asyncio
import gc
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from sca.distribution import install_extra
from sca.errors import ConfigError, MissingToolError
from sca.infer.server.transport.connection_limits import ConnectionLimits
from sca.infer.server.transport.http_protocol import http_protocol
from sca.infer.server.transport.websocket_protocol import websocket_protocol

if TYPE_CHECKING:
    from types import FrameType

    import uvicorn
    from starlette.types import ASGIApp

    from sca.config import ServeConfig

__all__ = ["TlsFiles", "WebSocketOptions", "listen", "serve", "server_config"]

_KEEP_ALIVE_S = 75
_SWITCH_S = 0.0001
_SHUTDOWN_S = 10
_UNSENT_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """How a server handles WebSockets.

    Attributes:
        max_message_bytes: The largest message that a client may send.
        drain: Awaited when the server has to stop, before connections are closed.
        ping_s: How often a client is pinged; 0 for never.
        ping_timeout_s: The time in which a client must respond to a ping.
    """

    max_message_bytes: int
    drain: Callable[[], Awaitable[object]]
    ping_s: float = 20.0
    ping_timeout_s: float = 20.0

    def uvicorn_options(self) -> dict[str, Any]:
        """Return the keyword arguments for `uvicorn.Config`."""
        return {
            "ws": websocket_protocol(),
            "ws_max_size": self.max_message_bytes,
            "ws_per_message_deflate": False,  # audio does not compress, and a small message cannot expand to a huge one
            "ws_ping_interval": self.ping_s or None,
            "ws_ping_timeout": self.ping_timeout_s,
        }


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its private key as PEM files, checked on creation.

    Attributes:
        cert: The certificate chain, with the key unless `key` is set.
        key: The private key.

    Raises:
        ConfigError: The files cannot be read or do not belong together.
    """

    cert: Path
    key: Path | None = None

    @classmethod
    def of(cls, config: "ServeConfig") -> "TlsFiles | None":
        """Return the files that the settings name; None if they name none."""
        return None if config.tls_cert is None else cls(config.tls_cert, config.tls_key)

    def __post_init__(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password="")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise ConfigError(
                f"cannot use the certificate {self.cert} ({error})",
                hint="--tls-cert is a PEM file with the chain, --tls-key its private key without a password",
            ) from error


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Args:
        host: The address to listen on.
        port: The port; 0 for a free one.

    Returns:
        The bound socket.

    Raises:
        ConfigError: The address is taken or is not an address.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                # Otherwise the kernel buffers seconds of audio for a client that does not read.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error})", hint="another --port, or 0 for a free one"
        ) from error
    return listener


def server_config(
    app: "ASGIApp",
    limits: ConnectionLimits,
    *,
    websockets: WebSocketOptions | None = None,
    tls: TlsFiles | None = None,
    extra: str = "turn",
) -> "uvicorn.Config":
    """Return the uvicorn configuration for an application. See `serve` for the arguments.

    Raises:
        MissingToolError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingToolError("the server needs uvicorn", hint=install_extra(extra)) from error
    _limit_uvicorn_log()
    return uvicorn.Config(
        app,
        http=http_protocol(limits),
        **({"ws": "none"} if websockets is None else websockets.uvicorn_options()),
        ssl_certfile=None if tls is None else tls.cert,
        ssl_keyfile=None if tls is None else tls.key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(limits.proxies),
        forwarded_allow_ips=limits.proxies,
        backlog=max(128, limits.max_connections),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )


def serve(
    app: "ASGIApp",
    listener: socket.socket,
    limits: ConnectionLimits,
    *,
    on_ready: Callable[[str], object],
    extra: str = "turn",
    websockets: WebSocketOptions | None = None,
    tls: TlsFiles | None = None,
    load: Callable[[], object] | None = None,
    drain: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Serve an application until SIGTERM or SIGINT, then finish open requests for up to 10 s.

    A second signal does not wait for `drain`.

    Args:
        app: The ASGI application.
        listener: The bound socket.
        limits: Limits on connections.
        on_ready: Called on the event loop with the URL, once requests are answered and `load` has returned.
        extra: The extra of sca that installs uvicorn, for the message if it is missing.
        websockets: How WebSockets are handled; None for HTTP only.
        tls: The certificate for https; None for http.
        load: Loads what the application needs, in a thread, while it already answers probes. If it raises, the server
            ends, and the exception is raised here.
        drain: Awaited on the first signal, before the server stops to listen. Not set: that of `websockets`.

    Raises:
        MissingToolError: uvicorn is not installed.
        BaseException: What `load` raised.
    """
    config = server_config(app, limits, websockets=websockets, tls=tls, extra=extra)
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    url = f"{'http' if tls is None else 'https'}://{name}:{port}"
    if drain is None and websockets is not None:
        drain = websockets.drain
    server = _draining_server(config, _Hooks(drain, load, lambda: on_ready(url)))
    server.run(sockets=[listener])
    if server.failure is not None:
        raise server.failure


@dataclass(frozen=True, slots=True)
class _Hooks:
    """What a server calls; see `serve`."""

    drain: Callable[[], Awaitable[object]] | None
    load: Callable[[], object] | None
    on_ready: Callable[[], object]


def _draining_server(config: "uvicorn.Config", hooks: _Hooks) -> Any:
    """Return a uvicorn server that loads in a thread, and that drains on the first signal before it stops to listen."""
    import uvicorn

    class DrainingServer(uvicorn.Server):
        failure: BaseException | None = None
        _drain_task: asyncio.Task[None] | None = None
        _signals = 0

        @override
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self._loop = asyncio.get_running_loop()
            if hooks.load is None:
                self._on_loaded()
            else:
                # Not a thread of the loop's pool, which the end of the process would wait for.
                threading.Thread(target=self._load, args=(hooks.load,), name="load", daemon=True).start()

        def _load(self, load: Callable[[], object]) -> None:
            try:
                load()
            except BaseException as error:  # noqa: BLE001 - `serve` raises it
                self.failure = error
                self.should_exit = True
            else:
                with suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._on_loaded)

        def _on_loaded(self) -> None:
            _tune_interpreter()
            hooks.on_ready()
            sys.stderr.flush()

        @override
        def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
            # Does not call the base method: uvicorn would raise the signal again after a clean end.
            self._signals += 1
            if hooks.drain is not None and self._signals == 1:
                self._loop.call_soon_threadsafe(self._start_drain, hooks.drain)
            else:
                self.should_exit = True

        def _start_drain(self, drain: Callable[[], Awaitable[object]]) -> None:
            self._drain_task = asyncio.create_task(self._drain(drain))

        async def _drain(self, drain: Callable[[], Awaitable[object]]) -> None:
            try:
                await drain()
            finally:
                self.should_exit = True

    return DrainingServer(config)


def _tune_interpreter() -> None:
    # The objects of the loaded process live as long as it does. Exclude them from garbage collection: a full collection
    # would pause every session.
    gc.collect()
    gc.freeze()
    # A step takes the interpreter lock again after every call into a model, and waits up to this interval each time.
    sys.setswitchinterval(_SWITCH_S)


def _limit_uvicorn_log() -> None:
    """Limit uvicorn's log to warnings, whatever the level of the root logger.

    Below that level it logs request heads and messages, which contain keys. The error it logs when a WebSocket is
    rejected is not an error here.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing handshake" not in record.getMessage()
    )
