"""`sca watch`: live commentary on a video, in the terminal."""

from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import CommandInterrupt
from sca.cli.shared.options import Quiet
from sca.cli.shared.settings_options import settings_options
from sca.cli.watch.options import PlayOptions, RecordOptions, ServeOptions, ShowOptions
from sca.errors import UsageError

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
    "serve.host",
    "serve.port",
    "serve.auth_key",
    "serve.tls_cert",
    "serve.tls_key",
    plain_env="watch",
)
def watch(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A video file, http://…, rtsp://…, webcam:0, or - for standard input. Optional with --serve.",
            show_default=False,
        ),
    ] = None,
    *,
    play: PlayOptions,
    show: ShowOptions,
    record: RecordOptions,
    server: ServeOptions,
    settings: "Settings",
    quiet: Quiet = False,
) -> None:
    """Comment on a video while it plays: a vision engine looks, and a voice speaks.

    Each line is printed as it is known, with the time of its picture. The engine describe needs no model. Others need a
    server or a model.
    """
    if server.serve:
        _serve(source, settings, play, show, record, server)
        return
    if source is None:
        raise UsageError("SOURCE is missing", hint="a video file, an address or webcam:0; --serve can do without")
    from sca.cli.watch.output import Output
    from sca.cli.watch.running import run

    output = Output(as_json=show.as_json, quiet=quiet)
    try:
        run(source, settings, play, record, output, with_report=show.report, quiet=quiet)
    except KeyboardInterrupt:
        raise CommandInterrupt("the commentary has ended") from None


def _serve(
    source: str | None,
    settings: "Settings",
    play: PlayOptions,
    show: ShowOptions,
    record: RecordOptions,
    server: ServeOptions,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: There is an option that only the terminal has.
    """
    terminal = (
        ("--json", show.as_json),
        ("--report", show.report),
        ("--seconds", play.seconds is not None),
        ("--output-device", play.output_device is not None),
        ("--record", record.record is not None),
        ("--events", record.events is not None),
    )
    for name, is_given in terminal:
        if is_given:
            raise UsageError(f"{name} is not for --serve", hint="the API has the events: GET /api/stream")
    from sca.watch.server.app import run

    run(settings, source, muted=play.mute, insecure=server.insecure)
