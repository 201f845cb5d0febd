"""`sca turn`: the group of the turn server's commands, and `serve`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.options import ConfigFile, Host, Insecure, Port, SetValues
from sca.cli.turn.client import ask, watch
from sca.cli.turn.daemon import logs, start, stop
from sca.cli.turn.load_test import bench, warmup

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["app", "serve", "turn_settings"]

app = typer.Typer(
    help="Has the speaker finished? A model that answers, as a server and on files.", no_args_is_help=True
)


def turn_settings(
    config_file: Path | None,
    set_values: Sequence[str] | None = None,
    options: Mapping[str, object] | None = None,
) -> "Settings":
    """The settings of a `sca turn` command; here AUTH_KEY, THRESHOLD and their like count without the SCA_TURN_ prefix.

    options: values of the command's own options by dotted setting name; None is an option that was not given.
    """
    from sca.config import TURN_ENV, load_settings, parse_set

    overrides: dict[str, object] = dict(parse_set(set_values or []))
    overrides |= {name: value for name, value in (options or {}).items() if value is not None}
    return load_settings(config_file, overrides, plain_env=TURN_ENV)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="FILE|DIR|ID", help="Which model; v3 of pipecat-ai if not given."),
    ] = None,
    auth_key: Annotated[
        str | None,
        typer.Option("--auth-key", metavar="KEY", help="Clients have to send it. AUTH_KEY keeps it out of `ps`."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="P", help="Finished is a probability above this.")
    ] = None,
    pool: Annotated[
        int | None, typer.Option("--pool", min=1, metavar="N", help="Models side by side; one a core if not given.")
    ] = None,
    insecure: Insecure = False,
    config: ConfigFile = None,
    set_values: SetValues = None,
) -> None:
    """Serve the model over HTTP: POST /raw, GET /health, /status, /metrics."""
    settings = turn_settings(
        config,
        set_values,
        {
            "turn.host": host,
            "turn.port": port,
            "turn.model_id": model,
            "turn.auth_key": auth_key,
            "turn.threshold": threshold,
            "turn.pool": pool,
        },
    )
    from sca.infer.turn.serving.app import run

    run(settings.turn, insecure=insecure)


app.command()(ask)
app.command()(watch)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(start)
app.command()(stop)
app.command()(logs)
app.command()(warmup)
app.command()(bench)
