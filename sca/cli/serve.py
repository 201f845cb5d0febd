"""`sca serve`: an engine, live, for browsers and programs."""

from pathlib import Path
from typing import Annotated

import typer

from sca.cli.shared.options import BaseUrl, ConfigFile, Engine, Host, Insecure, Port, SetValues, settings_from

__all__ = ["serve"]


def serve(
    engine: Engine = None,
    base_url: BaseUrl = None,
    host: Host = None,
    port: Port = None,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            "--max-sessions", min=1, metavar="N", help="The next is refused; 64 if not given.", show_default=False
        ),
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(
            "--drain",
            min=0,
            metavar="S",
            help="How long sessions may finish what they say when the server stops; 10 if not given.",
            show_default=False,
        ),
    ] = None,
    auth_key: Annotated[
        str | None,
        typer.Option(
            "--auth-key",
            metavar="KEY",
            help="Clients have to send it. SCA_AUTH_KEY keeps it out of `ps`.",
            show_default=False,
        ),
    ] = None,
    insecure: Insecure = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="PEM", help="Certificate chain for https and wss.", show_default=False),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="PEM", help="Its private key, if in a file of its own.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
) -> None:
    """Serve full-duplex sessions over the network: a page, WS /ws/pcm16, /v1/realtime and /twilio, POST /infer_wav, /metrics."""
    settings = settings_from(
        config,
        set_values,
        options={
            "live.engine": engine,
            "vllm.base_url": base_url,
            "serve.host": host,
            "serve.port": port,
            "serve.max_sessions": max_sessions,
            "serve.drain_s": drain,
            "serve.auth_key": auth_key,
            "serve.tls_cert": tls_cert,
            "serve.tls_key": tls_key,
        },
    )
    from sca.infer.server.app import run

    run(settings, insecure=insecure)
