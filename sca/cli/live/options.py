"""Options of `sca live`, in groups."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sca.cli.shared.options import Backend, seconds_option

__all__ = ["DeviceOptions", "FileOptions", "RecordOptions"]


@dataclass(frozen=True)
class FileOptions:
    """Options of a session between files."""

    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="IN", help="Audio file of any format to use as input.", show_default=False),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.wav",
            help="Write the output to this file, as long as the input.",
            show_default=False,
        ),
    ] = None
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Process the file in real time, with real step times.")
    ] = False


@dataclass(frozen=True)
class DeviceOptions:
    """Options of a session on audio devices."""

    mic: Annotated[bool, typer.Option("--mic", help="Use the microphone and the loudspeaker.")] = False
    input_device: Annotated[
        str | None,
        typer.Option("--input-device", metavar="NAME|INDEX", help="Microphone; see sca devices.", show_default=False),
    ] = None
    output_device: Annotated[
        str | None,
        typer.Option("--output-device", metavar="NAME|INDEX", help="Loudspeaker; see sca devices.", show_default=False),
    ] = None
    backend: Backend = "miniaudio"
    echo: Annotated[
        str | None,
        typer.Option(
            "--echo",
            metavar="cancel|gate|none",
            help="Handling of the loudspeaker's echo in the microphone. Not set: chosen by the loudspeaker.",
            show_default=False,
        ),
    ] = None
    buffer_ms: Annotated[
        int,
        typer.Option(
            "--buffer-ms",
            metavar="MS",
            min=40,
            max=2000,
            help="Output buffer of the driver, in ms; increase it if the sound has gaps.",
        ),
    ] = 60
    seconds: Annotated[
        float | None, seconds_option("--seconds", help="End --mic after this much input.", show_default=False)
    ] = None


@dataclass(frozen=True)
class RecordOptions:
    """Options for what is kept of a session."""

    transcript: Annotated[
        Path | None,
        typer.Option(
            "--transcript",
            metavar="FILE",
            help="Write the output text to this file, one line per turn.",
            show_default=False,
        ),
    ] = None
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", metavar="DIR", help="Record both tracks and the events in this folder.", show_default=False
        ),
    ] = None
    timing: Annotated[
        Path | None,
        typer.Option(
            "--timing", metavar="FILE", help="Write counters, latencies and turns to this file.", show_default=False
        ),
    ] = None
