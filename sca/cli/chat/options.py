"""Options of `sca chat`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AnswerOptions"]


@dataclass(frozen=True)
class AnswerOptions:
    """Where the answers to typed text go, besides standard output."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.wav", help="Write the spoken answers to this file.", show_default=False
        ),
    ] = None
    play: Annotated[bool, typer.Option("--play", help="Speak the answers on the loudspeaker.")] = False
