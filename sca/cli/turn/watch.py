"""`sca turn watch`: follow the turns of a speaker in an audio file or at the microphone."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, print_line, print_note
from sca.cli.shared.options import Backend, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.cli.turn.options import Url, auth_key
from sca.errors import UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.turn.monitor import TurnEvent

__all__ = ["watch"]


@dataclass(frozen=True)
class Source:
    """Options of the audio source."""

    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="Audio file to process, faster than real time.", show_default=False
        ),
    ] = None
    mic: Annotated[bool, typer.Option("--mic", help="Use the microphone, until Ctrl-C.")] = False
    seconds: Annotated[
        float | None, seconds_option("--seconds", least=0.1, help="End --mic after this time.", show_default=False)
    ] = None
    device: Annotated[
        str | None,
        typer.Option("--input-device", metavar="NAME|INDEX", help="Microphone; see sca devices.", show_default=False),
    ] = None
    backend: Backend = "miniaudio"


@settings_options("turn.model_id", "turn.device", "turn.threshold", "turn.auth_key", plain_env="turn")
def watch(
    source: Source,
    *,
    url: Url = None,
    every: Annotated[
        float | None,
        seconds_option(
            "--every",
            least=0.1,
            help="Also query at this interval during speech; this does not end a turn.",
            show_default=False,
        ),
    ] = None,
    settings: "Settings",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
) -> None:
    """Print the probability that the speaker has finished at every pause, and when a turn ends.

    Queries the server at --url; without it the model runs in this process.
    """
    if source.mic == (source.file is not None):
        raise UsageError("the audio source is missing or not unique", hint="give either --file FILE or --mic")
    from sca.audio.vad import shared_vad
    from sca.infer.turn.monitor import TurnMonitor, event_document, monitor_file
    from sca.infer.turn.policy import ThresholdSchedule
    from sca.infer.turn.predictor import open_predictor
    from sca.units import HEARD_HZ, seconds_to_samples

    def show(event: "TurnEvent") -> None:
        _print(event_document(event), as_json=as_json)

    schedule = ThresholdSchedule.from_config(settings.turn)
    interval = None if every is None else seconds_to_samples(every, HEARD_HZ)
    with open_predictor(settings.turn, url, auth_key(settings)) as predictor:
        monitor = TurnMonitor(predictor, schedule, shared_vad(), query_interval=interval, lenient=source.mic)
        if source.file is not None:
            for event in monitor_file(source.file, monitor):
                show(event)
        else:
            from sca.infer.turn.monitor_microphone import MicrophoneOptions, monitor_microphone

            options = MicrophoneOptions(source.device, source.backend, source.seconds)
            monitor_microphone(monitor, options, show, print_note)
    _print(monitor.summary(), as_json=as_json)


def _print(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(event, indent=None)
        sys.stdout.flush()
    else:
        print_line(_line(event), flush=True)


def _line(event: dict[str, Any]) -> str:
    if event["type"] == "end":
        rest = (
            ""
            if event["open_since_s"] is None
            else f"; the turn that began at {event['open_since_s']:.2f} s has not ended"
        )
        return f"processed {event['heard_s']:.2f} s: {counted(event['turns'], 'turn')}{rest}"
    head = f"{event['at_s']:8.2f} s  "
    if event["type"] == "over":
        why = "silence" if event["reason"] == "silence" else f"probability {event['probability']:.3f}"
        span = f"{event['from_s']:.2f}-{event['until_s']:.2f} s"
        return f"{head}turn {event['turn']} over: {span}, {event['delay_s']:.2f} s after its end, by {why}"
    where = f"pause of {event['silence_s']:.2f} s" if event["silence_s"] else "speech"
    if event["probability"] is None:
        return f"{head}{where}: no answer ({event['failure']})"
    bar = "█" * round(20 * event["probability"])
    return f"{head}{bar:░<20} {event['probability']:.3f}  {where}, threshold {event['threshold']:.2f}"
