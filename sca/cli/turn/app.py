"""`sca turn`: the group of the turn server's commands."""

import typer

from sca.cli.shared.settings_options import SettingsCommand
from sca.cli.turn.ask import ask
from sca.cli.turn.bench import bench
from sca.cli.turn.logs import logs
from sca.cli.turn.reload import reload
from sca.cli.turn.serve import serve
from sca.cli.turn.start import start
from sca.cli.turn.stop import stop
from sca.cli.turn.warmup import warmup
from sca.cli.turn.watch import watch

__all__ = ["app"]

app = typer.Typer(help="Detect the end of a speaker's turn: a server, its clients and tools.", no_args_is_help=True)

app.command(cls=SettingsCommand)(serve)
app.command(cls=SettingsCommand)(ask)
app.command(cls=SettingsCommand)(watch)
# `start` passes the options that it does not have to `serve`.
app.command(cls=SettingsCommand)(start)
app.command(cls=SettingsCommand)(stop)
app.command(cls=SettingsCommand)(reload)
app.command(cls=SettingsCommand)(logs)
app.command(cls=SettingsCommand)(warmup)
app.command(cls=SettingsCommand)(bench)
