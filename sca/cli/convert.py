"""`sca convert`: turn timelines and recordings into a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import ANYWHERE, place_of, show_shard, submitted
from sca.cli.shared.console import emit_json, out, print_notes
from sca.cli.shared.hub import Hub
from sca.cli.shared.options import Force, Jobs, Json, Quiet, RetryFailed
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.runs.summary import RunSummary
    from sca.data.shows.model import ConvertDetails

__all__ = ["convert"]


@dataclass(frozen=True)
class Folders:
    """Options of the input and the output."""

    input_file: Annotated[
        Path,
        typer.Option("--input-file", "-i", metavar="FILE", help="Timelines written by sca transcribe, one per line."),
    ] = Path("dataset/inference_outputs.jsonl")
    audio_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the recordings, named by the ids of the shows.")
    ] = Path("dataset/audio_outputs")
    output_dir: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the data set to.")
    ] = Path("dataset/converted")
    info_dir: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the .info.json files of sca download, for licences and provenance; may be repeated. "
            "Not set: the audio folder, and video_downloads beside it.",
            show_default=False,
        ),
    ] = None


@settings_options(
    "convert.merge_threshold_s",
    "convert.min_duration_s",
    "convert.max_duration_s",
    "convert.cut_start_s",
    "convert.cut_end_s",
    "convert.min_speech_s",
    "convert.keep_audience",
    "convert.enhance",
    "convert.speaker_model",
    "audio.accept_damage_s",
    "audio.track",
    "audio.language",
    *ANYWHERE,
)
def convert(
    *,
    folders: Folders,
    settings: "Settings",
    hub: Hub,
    jobs: Jobs = None,
    retry_failed: RetryFailed = True,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn timelines and their recordings into a data set for chat and talker training.

    Each row is a stretch of a show: the audio so far as input, the comedian's next words as target. A second run
    encodes only what is missing. Open the result with `sca.easy_load`, or with `datasets`.
    """
    hub.check()
    if submitted(settings, json=json):
        return
    from sca.data.shows.convert import convert as run

    with place_of(settings, jobs, redo=force) as place, audio_progress("shows", quiet=quiet) as progress:
        summary = run(
            folders.input_file,
            folders.audio_dir,
            folders.output_dir,
            settings,
            info_dirs=folders.info_dir or [folders.audio_dir.parent / "video_downloads"],
            jobs=jobs or 0,
            force=force,
            retry_failed=retry_failed,
            listener=progress,
            executor=place.executor,
            shard=place.shard,
        )
    if place.shard is not None:
        show_shard(summary, place, json=json, quiet=quiet)
        return
    if not quiet:
        _print_notes(summary)
    url = None
    try:
        url = hub.push(folders.output_dir)
    finally:  # the data set exists even if the upload fails
        if json:
            emit_json(_document(summary, url))
        else:
            _print_summary(summary, url)
    if summary.failed:
        total = summary.details.shows + len(summary.dropped) + len(summary.failed)
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(total, 'line')} failed",
            hint=f"the reasons are in {folders.output_dir / 'ledger.jsonl'}",
        )


def _print_notes(summary: "RunSummary[ConvertDetails]") -> None:
    notes = [f"{item}: failed: {reason}" for item, reason in summary.failed]
    notes += [f"{item}: dropped: {reason}" for item, reason in summary.dropped]
    notes += [f"{item}: {note}" for item, note in summary.notes]
    print_notes(notes, " in ledger.jsonl")


def _document(summary: "RunSummary[ConvertDetails]", url: str | None) -> dict[str, object]:
    details = summary.details
    return {
        "output": str(details.root),
        "shows": details.shows,
        "encoded": details.encoded,
        "rows": details.rows,
        "seconds": round(details.audio_s, 3),
        "target_seconds": round(details.target_s, 3),
        "without_embedding": details.without_embedding,
        "speech": details.speech.document() | {"shows_without": details.without_speech_spans},
        "counts": {name: count for name, count in sorted(details.counts.items()) if count},
        "dropped": dict(summary.dropped),
        "failed": dict(summary.failed),
        "notes": [list(note) for note in summary.notes],
        "hub": url,
    }


def _print_summary(summary: "RunSummary[ConvertDetails]", url: str | None) -> None:
    console, details = out(), summary.details
    console.print(
        f"{counted(details.shows, 'show')}, {details.audio_s / 3600:.2f} h, {counted(details.rows, 'row')} with "
        f"{details.target_s / 3600:.2f} h of target speech in {details.root} ({details.encoded} encoded now, "
        f"{len(summary.dropped)} dropped, {len(summary.failed)} failed)",
    )
    counts = ", ".join(f"{name} {count}" for name, count in sorted(details.counts.items()) if count)
    console.print(
        f"events: {counts or 'all became targets'}; shows without a speaker embedding: {details.without_embedding}"
    )
    if details.without_speech_spans < details.shows:
        console.print(str(details.speech))
    if url is not None:
        console.print(f"uploaded to {url}")
