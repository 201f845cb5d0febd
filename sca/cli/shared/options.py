"""Options that several commands share, and options that hold durations and sizes.

Options of settings are not here: `sca.cli.shared.settings_options` builds them from the settings' fields.
"""

import math
import re
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from sca.cli.shared.completion import complete_from, complete_layouts
from sca.errors import UnknownNameError, UsageError
from sca.units import MAX_SECONDS

__all__ = [
    "MAX_COUNT",
    "MAX_JOBS",
    "AudioDir",
    "Backend",
    "ConfigFile",
    "CorpusLayout",
    "Force",
    "Insecure",
    "Jobs",
    "Json",
    "Preset",
    "Quiet",
    "RetryFailed",
    "SetValues",
    "count_option",
    "parse_size",
    "seconds_option",
]

MAX_COUNT = 1_000_000
"""Upper bound of counts in options."""
MAX_JOBS = 1024
"""Upper bound of `--jobs`."""
_MAX_BYTES = 2**40
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3}


def _known_backend(name: str) -> str:
    from sca.infer.audio_io.registry import check_backend

    try:
        check_backend(name)  # here, because a conversation loads its models before it opens a device
    except UnknownNameError as error:
        error.message = f"--backend: {error.message}"
        raise
    return name


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file to read settings from.", show_default=False),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Value of one setting; may be repeated.", show_default=False),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="AUDIOxTEXT",
        help="Input audio and output text tokens per chunk, such as 8x4.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Redo and overwrite existing output.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=MAX_JOBS,
        metavar="N",
        help="Number of parallel jobs. Not set: one per core.",
        show_default=False,
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow an address that other machines can reach, without a key.")
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="miniaudio|sounddevice",
        help="Audio device library.",
        callback=_known_backend,
        autocompletion=complete_from(("miniaudio", "sounddevice")),
    ),
]
CorpusLayout = Annotated[
    str,
    typer.Option(
        "--format",
        autocompletion=complete_layouts,
        metavar="[auto|magichub|moshi|lhotse|events|stereo|kaldi|nemo|spokenwoz|table|NAME]",
        help="Layout of the corpus; auto detects it, other names are layouts of installed plugins.",
    ),
]
AudioDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the recordings of an events file. Not set: the folder of the file and its subfolders.",
        show_default=False,
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed/--no-retry-failed",
        help="Retry items that failed in an earlier run, or report them as failed without a retry.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress; errors are still shown.")]


def seconds_option(
    *names: str,
    help: str,  # noqa: A002
    least: float = 0,
    most: float = MAX_SECONDS,
    show_default: bool = True,
) -> OptionInfo:
    """Create an option for a duration in seconds, from `least` to `most`, by default a day; NaN and infinity are refused."""
    option: OptionInfo = typer.Option(
        *names,
        min=least,
        max=most,
        metavar="SECONDS",
        help=help,
        callback=_refuse_nan,
        show_default=show_default,
    )
    return option


def count_option(
    *names: str,
    help: str,  # noqa: A002
    least: int = 0,
    most: int = MAX_COUNT,
    show_default: bool = True,
) -> OptionInfo:
    """Create an option for a whole number from `least` to `most`."""
    option: OptionInfo = typer.Option(*names, min=least, max=most, metavar="N", help=help, show_default=show_default)
    return option


def _refuse_nan(value: float | None) -> float | None:
    # The bounds refuse infinity, but every comparison with NaN is false.
    if value is not None and math.isnan(value):
        raise typer.BadParameter("NaN is not a duration.")
    return value


def parse_size(text: str, option: str, *, kilo: int = 1000) -> int:
    """Convert a size such as `200MB`, `1.5GiB` or `1000000` to bytes. A rate may end in `/s`.

    Args:
        text: A number and an optional unit: K, M or G, then an optional i and B. With an i, a unit is a power of 1024.
        option: The option that it was given to, for the error.
        kilo: What K means: 1000 or 1024. M and G are its powers.

    Raises:
        UsageError: The text is not a size, or the size is below one byte or above 1 TiB.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(I?)B?(?:/S)?", text.strip().upper())
    if found:
        size = float(found[1]) * (1024 if found[3] else kilo) ** _POWERS[found[2]]
        if 1 <= size <= _MAX_BYTES:
            return int(size)
    raise UsageError(
        f"{option} should be a number of bytes up to 1 TiB, got {text!r}",
        hint=f"such as 500K, 200MB or 1GiB; K is {kilo} bytes and Ki is 1024",
    )
