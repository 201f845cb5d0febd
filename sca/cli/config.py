"""`sca config`: show the settings and their sources, and print a settings file."""

from typing import TYPE_CHECKING

import typer

from sca.cli.shared.command import Command
from sca.cli.shared.console import emit_json, print_line, print_note, print_text
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import SettingsCommand, settings_options

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["app"]

app = typer.Typer(help="Show the settings and their sources.", no_args_is_help=True)


@app.command(cls=SettingsCommand)
@settings_options(preset=True)
def show(*, settings: "Settings", as_json: Json = False) -> None:
    """Print every setting with its value and the source of the value.

    The command line wins over the SCA_* environment, the environment over the file, and the file over the defaults.
    """
    from sca.config import known_keys
    from sca.infer.turn.ceiling import threshold_warning

    warning = threshold_warning(settings.turn)
    if warning is not None:
        print_note(f"{warning}")
    values = settings.model_dump(mode="json")
    rows = [(key, settings.origin(key.name), values[key.section][key.field]) for key in known_keys()]
    if as_json:
        found = {key.name: {"value": value, "origin": origin, "env": key.env} for key, origin, value in rows}
        emit_json(found)
        return
    # Values are the last column: a prompt is long and may wrap.
    table = [("SETTING", "FROM", "VALUE")]
    table += [(key.name, origin, _shown(value)) for key, origin, value in rows]
    widths = [max(len(row[column]) for row in table) for column in (0, 1)]
    for name, origin, shown in table:
        print_line(f"{name:<{widths[0]}}  {origin:<{widths[1]}}  {shown}")


def _shown(value: object) -> str:
    return "none" if value is None else str(value).replace("\n", "\\n")


@app.command(cls=Command)
def default() -> None:
    """Print a TOML file with every setting, its default and its meaning."""
    from sca.config import known_keys
    from sca.config.describe import default_toml

    print_text(default_toml(known_keys()))
