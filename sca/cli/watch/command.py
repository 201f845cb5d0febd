"""`sca watch`: live commentary on a video, in the terminal."""

from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import CommandInterrupt
from sca.cli.shared.options import Quiet
from sca.cli.shared.settings_options import settings_options
from sca.cli.watch.options import PlayOptions, ShowOptions

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["watch"]


@settings_options(
    "watch.instruction",
    "watch.profile",
    "watch.profiles",
    "watch.engine",
    "watch.voice",
    "vision.base_url",
    "vision.model",
    "vision.home",
    "vision.away",
    "vision.trust_remote_code",
    "watch.capture_fps",
    "watch.frames_per_inference",
    "watch.inference_interval",
    "watch.tts_pause_after",
    "watch.loop",
    plain_env="watch",
)
def watch(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A video file, http://…, rtsp://…, webcam:0, or - for standard input."),
    ],
    *,
    play: PlayOptions,
    show: ShowOptions,
    settings: "Settings",
    quiet: Quiet = False,
) -> None:
    """Comment on a video while it plays: a vision engine looks, and a voice speaks.

    Each line is printed as it is known, with the time of its picture. The engine describe needs no model. Others need a
    server or a model.
    """
    from sca.cli.watch.output import Output
    from sca.cli.watch.running import run

    output = Output(as_json=show.as_json, quiet=quiet)
    try:
        run(source, settings, play, output, with_report=show.report, quiet=quiet)
    except KeyboardInterrupt:
        raise CommandInterrupt("the commentary has ended") from None
