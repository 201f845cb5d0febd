"""`sca say`: speak a text, to a loudspeaker, a file or standard output."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.say.target import Target
from sca.cli.shared.console import CommandInterrupt, emit_json, print_line, print_notes
from sca.cli.shared.options import Backend, Json, Quiet
from sca.cli.shared.settings_options import settings_options
from sca.errors import InputError, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.cli.say.output import Spoken
    from sca.config import Settings

__all__ = ["say"]

_MIN_RATE_HZ, _MAX_RATE_HZ = 4000, 192_000


@settings_options("speech.base_url", "csm.first_chunk_frames")
def say(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT|-", help="The text; - reads it from standard input.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="WAV or FLAC file to write.")
    ] = None,
    play: Annotated[
        bool,
        typer.Option("--play", help="Play on the loudspeaker: the default without --output, --stream and --words."),
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Write raw audio to stdout as it is made: 16-bit little-endian mono.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Speech engine; not set: the best one that is ready.", show_default=False),
    ] = None,
    voice: Annotated[
        str | None, typer.Option(metavar="NAME", help="A voice that --list shows.", show_default=False)
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            min=_MIN_RATE_HZ,
            max=_MAX_RATE_HZ,
            metavar="HZ",
            help="Sample rate of the audio; not set: that of the voice.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file for the times of the words.", show_default=False)
    ] = None,
    list_voices: Annotated[
        bool, typer.Option("--list", help="List the engines with their state and their voices, and speak nothing.")
    ] = False,
    backend: Backend = "miniaudio",
    output_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Loudspeaker; see sca devices.", show_default=False)
    ] = None,
    *,
    settings: "Settings",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Speak a text, and give the time of every word.

    The text is spoken clause by clause, so that the sound starts before the whole text is known or synthesised.
    """
    if list_voices:
        from sca.cli.say.listing import list_voices as write_list

        write_list(engine, settings, json=json)
        return
    target = Target(output, play or not (output or stream or words), stream, words)
    _check(text, target, json=json)
    from sca.cli.say.output import speak, text_pieces
    from sca.infer.speech.registry import open_voice

    try:
        name, opened = open_voice(engine, voice, settings)
        with closing(opened):
            spoken = speak(opened, text_pieces(text or ""), target, rate, backend=backend, device=output_device)
    except KeyboardInterrupt:
        files = [str(path) for path in (target.file, target.words) if path is not None]
        raise CommandInterrupt(f"{' and '.join(files)} not written" if files else "the speech was cut off") from None
    _report(name, spoken, target, json=json, quiet=quiet)


def _check(text: str | None, target: Target, *, json: bool) -> None:
    if text is None or not text.strip():
        raise UsageError("there is no text to speak", hint='sca say "Good morning." speaks it; - reads standard input')
    if target.stream and (json or target.play):
        other = "--json" if json else "--play"
        raise UsageError(f"--stream writes audio to stdout and cannot be used with {other}")
    if target.file is not None and target.file.suffix.lower() not in (".wav", ".flac"):
        raise UsageError(f"--output {target.file}: the name should end in .wav or .flac")


def _report(engine: str, spoken: "Spoken", target: Target, *, json: bool, quiet: bool) -> None:
    if not spoken.words and not spoken.skipped:
        raise UsageError("there is no text to speak", hint="standard input was empty")
    if not spoken.words:
        raise InputError(
            f"the voice cannot speak this text: {counted(len(spoken.skipped), 'word')} in another script, or signs",
            hint="sca say --list lists the voices and their languages",
        )
    if spoken.skipped and not quiet:
        print_notes([f"{counted(len(spoken.skipped), 'word')} not spoken: {' '.join(spoken.skipped[:8])}"])
    if json:
        emit_json({"engine": engine, **spoken.document()})
    elif target.file is not None and not target.stream and not quiet:
        seconds = spoken.samples / spoken.rate_hz
        print_line(f"{target.file}: {counted(len(spoken.words), 'word')}, {seconds:.2f} s, {engine}")
