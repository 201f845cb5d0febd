"""Runs the turn server: its log, loading the model while probes are answered, reloading settings, and the end."""

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from sca.config import secret_text
from sca.errors import ScaError
from sca.infer.server.core.logs import ServerLog
from sca.infer.server.core.probes import StartingApp
from sca.infer.server.core.security import check_bind, is_loopback
from sca.infer.server.transport.connection_limits import ConnectionLimits
from sca.infer.server.transport.uvicorn_server import listen, serve
from sca.infer.turn.ceiling import threshold_warning
from sca.infer.turn.serving.app import HEALTH_BODY, TurnEndpoints, make_app
from sca.infer.turn.serving.reload import compare
from sca.infer.turn.serving.request_log import log_rejected_connection
from sca.infer.turn.serving.service import load_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from sca.config import Settings, TurnConfig

__all__ = ["run"]


def run(settings: "Settings", reload_settings: "Callable[[], Settings]", *, insecure: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests for up to 10 s. SIGHUP reloads settings.

    Writes `sca turn: listening on URL` to stderr once requests are answered.

    Args:
        settings: The settings.
        reload_settings: Returns what the sources of the settings give now.
        insecure: Whether a server that other machines can reach may run without a key.

    Raises:
        ConfigError: The address is taken, is not an address, or is reachable without a key.
        ScaError: The model could not be loaded.
        DeviceLostError: The device of the model failed while the server ran.
    """
    config = settings.turn
    _check_access(config, insecure=insecure)
    log = ServerLog("sca turn")
    log.configure(config.log_format, config.log_level)
    if config.auth_key is None and not is_loopback(config.host):
        log.notice(f"--insecure: anyone who can reach {config.host} may use this server")
    with listen(config.host, config.port) as listener:
        server = _TurnServer(config, reload_settings, log, insecure=insecure)
        app = StartingApp(server.load, HEALTH_BODY)
        limits = ConnectionLimits(
            config.body_timeout_s,
            config.body_timeout_s,
            config.max_connections,
            server.count_rejected_connection,
            proxies=config.trusted_proxies,
            write_timeout_s=config.body_timeout_s,
        )
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
        try:
            serve(app, listener, limits, on_ready=server.on_ready, load=app.load, drain=server.drain)
        finally:
            server.close()
    server.raise_lost()
    log.notice("stopped")


class _TurnServer:
    """The state of a running server, used on the event loop except for `load`."""

    def __init__(
        self, config: "TurnConfig", reload_settings: "Callable[[], Settings]", log: ServerLog, *, insecure: bool
    ) -> None:
        self._config, self._reload_settings, self._log, self._insecure = config, reload_settings, log, insecure
        self._endpoints: TurnEndpoints | None = None

    def load(self) -> "FastAPI":
        """Load the model and return the application. Raises what `load_service` raises."""
        service = load_service(self._config)
        service.models.on_lost = lambda error: os.kill(os.getpid(), signal.SIGTERM)
        app = make_app(service, self._config)
        self._endpoints = app.state.endpoints
        return app

    def on_ready(self, url: str) -> None:
        assert self._endpoints is not None
        facts = self._endpoints.service.status()
        self._log.notice(f"listening on {url} ({facts['model']}, {facts['device']}, {facts['pool']} at a time)")
        self._warn()
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _warn(self) -> None:
        assert self._endpoints is not None
        warning = threshold_warning(self._config, self._endpoints.service.facts.get("sha256"))
        if warning is not None:
            self._log.notice(warning)

    def _reload(self) -> None:
        """Take over changed settings. Bad ones change nothing."""
        assert self._endpoints is not None
        try:
            found = compare(self._config, self._reload_settings().turn)
            _check_access(found.config, insecure=self._insecure)
        except ScaError as error:
            self._log.notice(f"not reloaded, the old settings remain: {error}")
            return
        self._config = found.config
        self._endpoints.configure(found.config)
        self._log.configure(found.config.log_format, found.config.log_level)
        self._log.notice(found.message())
        self._warn()

    async def drain(self) -> None:
        """Be not ready, but answer, until whoever sends requests has noticed."""
        if self._endpoints is not None:
            self._endpoints.draining = True
            if self._endpoints.service.models.lost is None:
                await asyncio.sleep(self._config.drain_s)

    def count_rejected_connection(self, status: int) -> None:
        if self._endpoints is not None:
            log_rejected_connection(status, self._endpoints.metrics.count_request)

    def raise_lost(self) -> None:
        """Raise why the model could not go on, if it could not."""
        lost = None if self._endpoints is None else self._endpoints.service.models.lost
        if lost is not None:
            raise lost

    def close(self) -> None:
        if self._endpoints is not None:
            self._endpoints.service.close(0)
        sys.stderr.flush()


def _check_access(config: "TurnConfig", *, insecure: bool) -> None:
    check_bind(config.host, secret_text(config.auth_key), insecure=insecure)
