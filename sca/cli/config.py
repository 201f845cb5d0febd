"""`sca config`: what the settings are, where each came from, and a file to start from."""

import sys
from typing import Any

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import ConfigFile, Json, Preset, SetValues, settings_from

__all__ = ["app"]

app = typer.Typer(help="Show the settings and where they come from.", no_args_is_help=True)


@app.command()
def show(config: ConfigFile = None, set_values: SetValues = None, preset: Preset = None, as_json: Json = False) -> None:
    """Print every setting with its value and where that came from.

    The command line beats the SCA_* environment, that beats the file, and that beats the defaults.
    """
    from sca.config import known_keys

    settings = settings_from(config, set_values, preset)
    values = settings.model_dump(mode="json")
    rows = {key.name: (values[key.section][key.field], settings.origin(key.name), key.env) for key in known_keys()}
    if as_json:
        emit_json({name: {"value": value, "origin": origin, "env": env} for name, (value, origin, env) in rows.items()})
        return
    # Values come last: a prompt is long, and may wrap without breaking a column.
    table = [("SETTING", "FROM", "VALUE")]
    table += [(name, origin, _shown(value)) for name, (value, origin, _) in rows.items()]
    widths = [max(len(row[column]) for row in table) for column in (0, 1)]
    for name, origin, shown in table:
        sys.stdout.write(f"{name:<{widths[0]}}  {origin:<{widths[1]}}  {shown}\n")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).replace("\n", "\\n")


@app.command()
def default() -> None:
    """Print a TOML file with every setting, its default and what it means."""
    from sca.config import known_keys
    from sca.config.describe import default_toml

    sys.stdout.write(default_toml(known_keys()))
