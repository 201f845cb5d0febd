"""`sca turn ask|watch`: has the speaker in a file, or at the microphone, finished?"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import Backend, ConfigFile, Json, SetValues
from sca.cli.turn.load_test import AuthKey, Url, key_of
from sca.errors import UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.infer.turn.monitor import Event

__all__ = ["ask", "watch"]

Threshold = Annotated[
    float | None,
    typer.Option("--threshold", min=0, max=1, metavar="P", help="Finished is a probability above this."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="FILE|DIR|ID", help="Without --url: which model; v3 of pipecat-ai if not given."),
]


def ask(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sound file of any format; its last 8 s count.")],
    url: Url = None,
    auth_key: AuthKey = None,
    threshold: Threshold = None,
    model: Model = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    as_json: Json = False,
) -> None:
    """Has the speaker finished at the end of a sound file?

    Asks the server at --url; without it the model is run right here.
    """
    from sca.cli.turn.command import turn_settings
    from sca.infer.turn.client.load_test import end_of
    from sca.infer.turn.predictor import open_judge

    settings = turn_settings(config, set_values, {"turn.threshold": threshold, "turn.model_id": model})
    samples = end_of(file)
    with open_judge(settings.turn, url, key_of(settings, auth_key)) as judge:
        verdict = judge.ask(samples, threshold)
    if as_json:
        emit_json({"file": str(file), "seconds": len(samples) / 16_000, **verdict.document(), "judge": judge.name})
    else:
        word = "finished" if verdict.finished else "not finished"
        sys.stdout.write(f"{word}: probability {verdict.probability:.3f}\n")


def watch(
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Hear this sound file, faster than real time.", show_default=False),
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="Hear the microphone, until Ctrl-C.")] = False,
    url: Url = None,
    auth_key: AuthKey = None,
    threshold: Threshold = None,
    model: Model = None,
    every: Annotated[
        float | None,
        typer.Option("--every", min=0.1, metavar="S", help="Also ask this often during speech; decides nothing."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, metavar="S", help="With --mic: end after this time.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--input-device", metavar="NAME", help="With --mic: which; see sca devices.")
    ] = None,
    backend: Backend = "miniaudio",
    config: ConfigFile = None,
    set_values: SetValues = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
) -> None:
    """Show how likely the speaker has finished, at every pause, and when a turn is called over.

    Asks the server at --url; without it the model is run right here.
    """
    if mic == (file is not None):
        raise UsageError("what should be heard?", hint="give either --file FILE or --mic")
    from sca.audio.vad import SileroVad
    from sca.cli.turn.command import turn_settings
    from sca.infer.turn.monitor import TurnMonitor, document, watch_file
    from sca.infer.turn.policy import ThresholdSchedule
    from sca.infer.turn.predictor import open_judge
    from sca.units import HEARD_HZ

    settings = turn_settings(config, set_values, {"turn.threshold": threshold, "turn.model_id": model})
    step = None if every is None else round(every * HEARD_HZ)

    def show(event: "Event") -> None:
        found = document(event)
        sys.stdout.write((json.dumps(found) if as_json else _line(found)) + "\n")
        sys.stdout.flush()

    with open_judge(settings.turn, url, key_of(settings, auth_key)) as judge:
        watching = TurnMonitor(judge, ThresholdSchedule.of(settings.turn), SileroVad(), every=step, lenient=mic)
        if file is not None:
            for event in watch_file(file, watching):
                show(event)
        else:
            from sca.infer.turn.monitor_mic import MicChoice, watch_mic

            choice = MicChoice(device, backend, seconds)
            watch_mic(watching, choice, show, lambda said: print(said, file=sys.stderr, flush=True))
    end = watching.summary()
    sys.stdout.write((json.dumps(end) if as_json else _line(end)) + "\n")


def _line(found: dict[str, Any]) -> str:
    if found["type"] == "end":
        rest = "" if found["open_since_s"] is None else f", one that began at {found['open_since_s']:.2f} s is not over"
        return f"heard {found['heard_s']:.2f} s: {counted(found['turns'], 'turn')}{rest}"
    head = f"{found['at_s']:8.2f} s  "
    if found["type"] == "over":
        why = "silence" if found["reason"] == "silence" else f"probability {found['probability']:.3f}"
        span = f"{found['from_s']:.2f}-{found['until_s']:.2f} s"
        return f"{head}turn {found['turn']} over: {span}, {found['delay_s']:.2f} s after its end, by {why}"
    where = f"pause of {found['silence_s']:.2f} s" if found["silence_s"] else "speech"
    if found["probability"] is None:
        return f"{head}{where}: no answer ({found['failure']})"
    bar = "█" * round(20 * found["probability"])
    return f"{head}{bar:░<20} {found['probability']:.3f}  {where}, enough is {found['threshold']:.2f}"
