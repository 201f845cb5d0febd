"""Options of `sca watch` that are not settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sca.cli.shared.options import Backend, Insecure, seconds_option

__all__ = ["PlayOptions", "RecordOptions", "ServeOptions", "ShowOptions"]


@dataclass(frozen=True)
class PlayOptions:
    """How the commentary is heard, and for how long."""

    mute: Annotated[bool, typer.Option("--mute", help="Show the commentary as text only.")] = False
    seconds: Annotated[
        float | None,
        seconds_option(
            "--seconds", least=0.1, help="End after this time. Not set: with the video.", show_default=False
        ),
    ] = None
    backend: Backend = "miniaudio"
    output_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Loudspeaker; see sca devices.", show_default=False)
    ] = None


@dataclass(frozen=True)
class ShowOptions:
    """What is printed."""

    report: Annotated[
        bool, typer.Option("--report", help="Print latency, offset of speech and picture, and overlaps at the end.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False


@dataclass(frozen=True)
class ServeOptions:
    """The server with the page."""

    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Serve a page with picture and commentary, and an HTTP API, instead of the terminal."
        ),
    ] = False
    insecure: Insecure = False


@dataclass(frozen=True)
class RecordOptions:
    """What is recorded."""

    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.mp4",
            help="Record the video with the commentary as its sound and as subtitles.",
            show_default=False,
        ),
    ] = None
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Record all events and utterances with times.", show_default=False),
    ] = None
