"""`sca eval`: the group of the evaluation commands."""

import typer

from sca.cli.eval.fdb import fdb
from sca.cli.eval.reactions import reactions
from sca.cli.eval.talk import talk
from sca.cli.eval.turns import turns
from sca.cli.shared.command import Command
from sca.cli.shared.settings_options import SettingsCommand

__all__ = ["app"]

app = typer.Typer(help="Measure an engine's turn-taking and the detection of audience reactions.", no_args_is_help=True)

app.command(cls=SettingsCommand)(fdb)
app.command(cls=SettingsCommand)(turns)
app.command(cls=SettingsCommand)(talk)
app.command(cls=Command)(reactions)
