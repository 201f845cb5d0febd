"""`sca transcode`: transcode recordings to clean audio files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import ANYWHERE, place_of, show_shard, submitted
from sca.cli.shared.console import emit_json, print_line, print_note, print_notes
from sca.cli.shared.options import Force, Jobs, Json, Quiet, RetryFailed
from sca.cli.shared.settings_options import settings_options
from sca.cli.shared.transcode_progress import transcode_progress
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.media.transcode import TranscodeDetails
    from sca.data.runs.summary import RunSummary

__all__ = ["transcode"]


@settings_options("audio.accept_damage_s", "audio.track", "audio.language", *ANYWHERE)
def transcode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file, or a folder with its subfolders.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to, with the same subfolders as IN.")],
    in_ext: Annotated[
        str | None,
        typer.Argument(
            metavar="[IN_EXT]",
            help="Extensions to read in a folder, such as webm,m4a; any reads all. Not set: webm.",
            show_default=False,
        ),
    ] = None,
    out_ext: Annotated[
        str, typer.Argument(metavar="[OUT_EXT]", help="Extension to write: flac, wav or opus.")
    ] = "flac",
    sample_rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate, 8000 to 192000.")] = 48_000,
    channels: Annotated[int, typer.Option(metavar="N", help="1 mixes to mono, 2 to stereo.")] = 1,
    loudness: Annotated[
        float | None,
        typer.Option(
            metavar="LUFS",
            help="Loudness (EBU R128) that each file is brought to with one gain, -70 to -5, such as -23.",
            show_default=False,
        ),
    ] = None,
    *,
    settings: "Settings",
    jobs: Jobs = None,
    force: Force = False,
    retry_failed: RetryFailed = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert downloaded audio or video to clean audio files: by default 48 kHz, mono, 16-bit FLAC.

    A second run makes only what is missing. An existing result that differs (in rate or length) is reported and kept,
    unless --force is given. OUT/ledger.jsonl records the outcome of every file.
    """
    from sca.data.media.transcode import AudioFormat
    from sca.data.media.transcode import transcode as run

    if submitted(settings, json=json):
        return
    requested = AudioFormat(out_ext.lower().removeprefix("."), sample_rate, channels, loudness)
    with place_of(settings, jobs, redo=force) as place, transcode_progress(quiet=quiet) as progress:
        summary = run(
            source,
            output,
            requested,
            extensions=in_ext,
            jobs=jobs or 0,
            force=force,
            retry_failed=retry_failed,
            reading=settings.audio.reading,
            listener=progress,
            executor=place.executor,
            shard=place.shard,
        )
    if place.shard is not None:
        show_shard(summary, place, json=json, quiet=quiet)
        return
    if not quiet:
        print_notes([f"{item}: {note}" for item, note in summary.notes], f" in {summary.details.ledger.name}")
        print_notes(
            [f"{item}: failed: {reason}" for item, reason in summary.failed], f" in {summary.details.ledger.name}"
        )
    if json:
        emit_json(_document(summary))
    else:
        _print_summary(summary)
    if summary.failed:
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(summary.total, 'file')} failed",
            hint=f"the reasons are in {summary.details.ledger}",
        )


def _document(summary: "RunSummary[TranscodeDetails]") -> dict[str, object]:
    return {
        "output": str(summary.details.out),
        "ffmpeg": summary.details.ffmpeg,
        "total": summary.total,
        "made": summary.made,
        "already": summary.already,
        "seconds": round(summary.audio_s, 3),
        "failed": dict(summary.failed),
        "left": summary.details.left,
        "notes": [list(note) for note in summary.notes],
    }


def _print_summary(summary: "RunSummary[TranscodeDetails]") -> None:
    print_line(
        f"{counted(summary.made, 'file')} made, {summary.audio_s / 3600:.2f} h; {summary.already} made before, "
        f"{len(summary.failed)} failed; "
        f"in {summary.details.out} (ffmpeg: {summary.details.ffmpeg})",
    )
    left = summary.details.left
    if left:
        names = ", ".join(f"{count} .{extension}" for extension, count in left.items())
        print_note(
            f"sca: {counted(sum(left.values()), 'file')} of other types left: {names}; "
            f"this run reads {', '.join(summary.details.wanted)} (give any for all)",
        )
