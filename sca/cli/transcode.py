"""`sca transcode`: recordings become clean audio files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, out, say_notes
from sca.cli.shared.options import Force, Jobs, Json, Quiet
from sca.cli.shared.transcode_progress import transcode_progress
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.media.transcode import Summary

__all__ = ["transcode"]


def transcode(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A file, or a folder: its files and those of its sub-folders.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write to; sub-folders are as in IN.")],
    in_ext: Annotated[
        str | None,
        typer.Argument(
            metavar="[IN_EXT]", help="What to read of a folder: webm, webm,m4a or any (webm).", show_default=False
        ),
    ] = None,
    out_ext: Annotated[str, typer.Argument(metavar="[OUT_EXT]", help="What to write: flac, wav or opus.")] = "flac",
    sample_rate: Annotated[int, typer.Option(metavar="HZ", help="Samples per second.")] = 48_000,
    channels: Annotated[int, typer.Option(metavar="N", help="1 mixes to mono, 2 to stereo.")] = 1,
    loudness: Annotated[
        float | None,
        typer.Option(
            metavar="LUFS",
            help="Bring each file to this loudness (EBU R128) with one gain, such as -23.",
            show_default=False,
        ),
    ] = None,
    jobs: Jobs = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn downloaded sound or video into clean audio: 48 kHz, mono, 16 bit FLAC unless told otherwise.

    A second run makes only what is missing. A result that is there and differs (another rate, another length) is reported
    and stays as it is without --force. What became of every file is in OUT/ledger.jsonl.
    """
    from sca.data.media.transcode import Format
    from sca.data.media.transcode import transcode as run

    asked = Format(out_ext.lower().removeprefix("."), sample_rate, channels, loudness)
    with transcode_progress(quiet=quiet) as progress:
        summary = run(source, output, asked, extensions=in_ext, jobs=jobs or 0, force=force, watch=progress)
    if not quiet:
        _say(summary)
    if json:
        emit_json(_document(summary))
    else:
        _show(summary)
    if summary.failed:
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(summary.total, 'file')} failed",
            hint=f"the reasons are in {output / 'ledger.jsonl'}",
        )


def _say(summary: "Summary") -> None:
    """What a person should know of single files."""
    say_notes([f"{item}: {note}" for item, note in summary.notes], " in ledger.jsonl")
    say_notes([f"{item}: failed: {reason}" for item, reason in summary.failed], " in ledger.jsonl")


def _document(summary: "Summary") -> dict[str, Any]:
    return {
        "output": str(summary.out),
        "ffmpeg": summary.ffmpeg,
        "total": summary.total,
        "made": summary.made,
        "already": summary.already,
        "seconds": round(summary.made_s, 3),
        "failed": dict(summary.failed),
        "notes": [list(note) for note in summary.notes],
    }


def _show(summary: "Summary") -> None:
    out().print(
        f"{counted(summary.made, 'file')} made, {summary.made_s / 3600:.2f} h; {summary.already} made before, "
        f"{len(summary.failed)} failed; "
        f"in {summary.out} (ffmpeg: {summary.ffmpeg})",
        markup=False,
    )
