"""`sca live`: run an engine live, on audio devices or between files."""

from typing import TYPE_CHECKING

import typer

from sca.cli.live.options import DeviceOptions, FileOptions, RecordOptions
from sca.cli.shared.console import CommandInterrupt, emit_json, print_text
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.settings_options import settings_options
from sca.errors import UsageError

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["live"]


@settings_options("live.engine", "vllm.base_url", "live.turn_model")
def live(
    *,
    files: FileOptions,
    devices: DeviceOptions,
    settings: "Settings",
    records: RecordOptions,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a live session of an engine, with microphone and loudspeaker or on a file.

    With --mic it uses the microphone and the loudspeaker: q ends the session, space interrupts the engine, m mutes, ? shows the
    keys.

    With --file and --output it processes a file in simulated time, much faster than real time and with the same result in
    every run.
    """
    interrupted = False
    if devices.mic:
        if files.file is not None or files.out is not None or files.realtime:
            raise UsageError("--mic cannot be combined with --file, --output and --realtime")
        from sca.cli.live.mic import mic_options, run_on_mic, summary

        document, interrupted = run_on_mic(mic_options(devices, records), settings, quiet=quiet)
        text = summary(document)
    else:
        if any(v is not None for v in (devices.input_device, devices.output_device, devices.echo, devices.seconds)):
            raise UsageError(
                "--input-device, --output-device, --echo and --seconds need --mic", hint="add --mic, or remove them"
            )
        if files.file is None or files.out is None:
            raise UsageError("--file or --output is missing", hint="give --mic, or --file IN.wav and -o OUT.wav")
        from sca.cli.live.between_files import run_on_file, summary
        from sca.infer.runners.file import OutputFiles

        outputs = OutputFiles(files.out, records.transcript, records.record, records.timing)
        try:
            document = run_on_file(files.file, outputs, settings, realtime=files.realtime, quiet=quiet)
        except KeyboardInterrupt as error:  # a session does not continue: the next one begins at the first chunk
            raise CommandInterrupt(f"{files.out} is not written") from error
        text = summary(document) + f"{files.out}\n"
    if as_json:
        emit_json(document)
    else:
        print_text(text)
    if interrupted:
        raise typer.Exit(130)
