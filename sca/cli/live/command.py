"""`sca live`: talk to an engine, or let it hear a file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import Backend, BaseUrl, ConfigFile, Engine, Json, Quiet, SetValues, settings_from
from sca.errors import UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["live"]


def live(
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="IN", help="Hear this sound file, of any format.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="OUT.wav", help="Write what is said here, as long as the input.", show_default=False
        ),
    ] = None,
    engine: Engine = None,
    base_url: BaseUrl = None,
    mic: Annotated[bool, typer.Option("--mic", help="Talk: hear the microphone, speak on the loudspeaker.")] = False,
    input_device: Annotated[
        str | None,
        typer.Option(
            "--input-device", metavar="NAME|INDEX", help="Which microphone (sca devices).", show_default=False
        ),
    ] = None,
    output_device: Annotated[
        str | None,
        typer.Option("--output-device", metavar="NAME|INDEX", help="Which loudspeaker.", show_default=False),
    ] = None,
    backend: Backend = "miniaudio",
    echo: Annotated[
        str | None,
        typer.Option(
            "--echo",
            metavar="cancel|gate|none",
            help="What is done about the loudspeaker in the microphone; chosen by the loudspeaker if not given.",
            show_default=False,
        ),
    ] = None,
    buffer_ms: Annotated[
        int,
        typer.Option(
            "--buffer-ms", metavar="MS", min=40, max=2000, help="Play-out the driver holds; more if the sound has gaps."
        ),
    ] = 60,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", metavar="S", min=0, help="End --mic after so much was heard.", show_default=False),
    ] = None,
    turn_model: Annotated[
        str | None,
        typer.Option(
            "--turn-model",
            metavar="MODEL|URL",
            help="Let a model say when a turn is over: auto, a model, or a turn server's address.",
            show_default=False,
        ),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Hear the file at the pace it was spoken, with real step times.")
    ] = False,
    transcript: Annotated[
        Path | None,
        typer.Option(
            "--transcript", metavar="FILE", help="Write what is said as text, a line a turn.", show_default=False
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="DIR", help="Keep both tracks and the events here.", show_default=False),
    ] = None,
    timing: Annotated[
        Path | None,
        typer.Option("--timing", metavar="FILE", help="Write counters, latencies and turns here.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a full-duplex session: it listens, thinks and speaks at the same time.

    With --mic it hears the microphone and speaks on the loudspeaker: q ends, space interrupts.

    With --file and --out it hears a file in simulated time, much faster than real time and the same in every run.
    """
    options = {"live.engine": engine, "live.turn_model": turn_model, "vllm.base_url": base_url}
    if file is not None and not realtime:
        options["vllm.lockstep"] = "true"  # simulated time does not pass while a server thinks
    settings = settings_from(config, set_values, options=options)
    if mic:
        if file is not None or out is not None or realtime:
            raise UsageError("--mic hears the microphone; it does not go with --file, --out and --realtime")
        from sca.cli.live.mic import on_mic, options_from, summary

        mic_options = options_from(
            input_device, output_device, backend, echo, buffer_ms, seconds, record, transcript, timing
        )
        talked = on_mic(mic_options, settings, quiet=quiet)
        if as_json:
            emit_json(talked)
        else:
            sys.stdout.write(summary(talked))
        return
    if any(given is not None for given in (input_device, output_device, echo, seconds)):
        raise UsageError("--input-device, --output-device, --echo and --seconds belong to --mic", hint="add --mic")
    if file is None or out is None:
        raise UsageError("nothing to hear, or nowhere to speak", hint="give --mic, or --file IN.wav and --out OUT.wav")
    from sca.infer.runners.file import OutputFiles

    outputs = OutputFiles(out, transcript, record, timing)
    document = _on_file(file, outputs, settings, realtime=realtime, quiet=quiet)
    if as_json:
        emit_json(document)
    else:
        _show(out, document)


def _on_file(file: Path, outputs: Any, settings: "Settings", *, realtime: bool, quiet: bool) -> dict[str, Any]:
    from sca.audio.decode import probe
    from sca.cli.shared.progress import audio_progress
    from sca.infer.engines.registry import load_engine
    from sca.infer.frames import ErrorFrame
    from sca.infer.interfaces import BaseListener
    from sca.infer.runners.file import run_file

    outputs.check(file)
    duration_s = probe(file).duration_s
    answering = load_engine(settings.live.engine, settings)
    if not quiet:
        sys.stderr.write(f"{answering.info.name}: {answering.info.summary}\n")
    notices: list[str] = []
    with audio_progress("chunks heard", quiet=quiet) as progress:

        class Progress(BaseListener):
            def on_input(self, samples: Any, chunk_index: int) -> None:
                progress.advance(f"chunk {chunk_index}", len(samples) / 16_000)

            def on_control(self, frame: Any) -> None:
                if isinstance(frame, ErrorFrame) and not frame.fatal:
                    notices.append(frame.message)

        total = -(-int((duration_s or 0) * 1000) // int(settings.grid.chunk_s * 1000))
        progress.start(total, total)
        document = run_file(file, outputs, answering, settings, realtime=realtime, listeners=[Progress()])
    for notice in notices:
        sys.stderr.write(f"{answering.info.name}: {notice}\n")
    return document


def _show(out: Path, document: dict[str, Any]) -> None:
    latency = document["latency_ms"]
    sys.stdout.write(
        f"heard {document['heard_s']:.2f} s, said {document['said_samples'] / 24_000:.2f} s in "
        f"{counted(document['turns_begun'], 'turn')}"
        f" ({document['interruptions']} interrupted)\n"
    )
    if latency["count"]:
        sys.stdout.write(
            f"mouth to ear: p50 {latency['p50']:g} ms, p95 {latency['p95']:g} ms, p99 {latency['p99']:g} ms\n"
        )
    if document["dropped"] or document["late"]:
        sys.stdout.write(
            f"dropped {document['dropped']} of {counted(document['chunks_in'], 'chunk')}, {document['late']} late\n"
        )
    if document["non_finite"] or document["clipped"]:
        sys.stdout.write(
            f"in the input: {counted(document['non_finite'], 'sample')} without a number (replaced by 0), "
            f"{document['clipped']} clipped\n"
        )
    sys.stdout.write(f"{out}\n")
