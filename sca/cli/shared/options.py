"""Options that several commands share, spelled once, and how they become settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = [
    "Backend",
    "BaseUrl",
    "ConfigFile",
    "Engine",
    "Force",
    "Host",
    "Insecure",
    "Jobs",
    "Json",
    "Port",
    "Preset",
    "Quiet",
    "SetValues",
    "Speaker",
    "settings_from",
]

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Read settings from this TOML file.", show_default=False),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one setting; may be repeated.", show_default=False),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="AUDIOxTEXT", help="Tokens heard and spoken per chunk, such as 8x4.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Do again, and write over, what is already there.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, metavar="N", help="How many at a time; one a core if not given.", show_default=False
    ),
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="Who answers; parrot if not given.", show_default=False)
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="Server of the engine vllm-omni.", show_default=False)
]
Host = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="Where to listen; 127.0.0.1 if not given.", show_default=False),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", min=0, max=65535, metavar="PORT", help="8000 if not given; 0 takes a free one.", show_default=False
    ),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Listen on an address others can reach, without a key.")]
Backend = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="Library that reaches devices: miniaudio or sounddevice.")
]
Speaker = Annotated[
    str | None,
    typer.Option(
        "--speaker",
        metavar="MODEL",
        help="Whose voice: none, ecapa, ecapa:FOLDER-OR-HUB-ID or an .onnx file (none).",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress; errors are still shown.")]


def settings_from(
    config_file: Path | None,
    set_values: Sequence[str] | None = None,
    preset: str | None = None,
    options: Mapping[str, object] | None = None,
) -> "Settings":
    """The settings of a command. A named option beats `--set`, and `--set` beats `--preset`.

    options: values of the command's own options by dotted setting name; None is an option that was not given.
    """
    from sca.config import apply_preset, load_settings, parse_set

    overrides: dict[str, object] = apply_preset(preset) if preset is not None else {}
    overrides |= parse_set(set_values or [])
    overrides |= {name: value for name, value in (options or {}).items() if value is not None}
    return load_settings(config_file, overrides)
