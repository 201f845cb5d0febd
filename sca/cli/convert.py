"""`sca convert`: timelines and recordings become a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out, say_notes
from sca.cli.shared.options import ConfigFile, Force, Jobs, Json, Quiet, SetValues, Speaker, settings_from
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.retry import RetryFailed
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.runs.summary import RunSummary
    from sca.data.shows.model import ConvertDetails

__all__ = ["convert"]


def convert(
    input_file: Annotated[
        Path, typer.Option("--input-file", "-i", metavar="FILE", help="What sca transcribe wrote: a timeline a line.")
    ] = Path("dataset/inference_outputs.jsonl"),
    audio_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="The recordings; each is found by its show's id.")
    ] = Path("dataset/audio_outputs"),
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="The folder to write the data set to.")
    ] = Path("dataset/converted"),
    info_dir: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Where sca download left its .info.json files, for licences and provenance; may be repeated "
            "(the audio folder, and video_downloads beside it).",
            show_default=False,
        ),
    ] = None,
    merge_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Speech with no more than this between is one target (0.5).", show_default=False
        ),
    ] = None,
    min_duration: Annotated[
        float | None, typer.Option(metavar="S", help="Shorter rows are left out (0).", show_default=False)
    ] = None,
    max_duration: Annotated[
        float | None,
        typer.Option(metavar="S", help="Longest row: a target and what was heard before it (60).", show_default=False),
    ] = None,
    cut_start: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds at a show's start that no row reaches into (3).", show_default=False),
    ] = None,
    cut_end: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds at a show's end that no target reaches into (1).", show_default=False),
    ] = None,
    min_speech_duration: Annotated[
        float | None, typer.Option(metavar="S", help="Shorter targets get no row (5).", show_default=False)
    ] = None,
    keep_audience: Annotated[
        bool, typer.Option("--keep-audience", help="Leave reactions in the text, as tags such as [laughter].")
    ] = False,
    enhance: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What cleans the talker's audio: none or deepfilter.", show_default=False),
    ] = None,
    speaker: Speaker = None,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO", help="Upload the finished data set there.", show_default=False)
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make that repository a private one.")] = False,
    config: ConfigFile = None,
    set_values: SetValues = None,
    jobs: Jobs = None,
    retry_failed: RetryFailed = True,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn timelines and their recordings into a data set for chat and talker training.

    Each row is a stretch of a show: what was heard, and what the comedian says next. A second run encodes only what is missing.
    Open it with `sca.easy_load`, or with `datasets`.
    """
    if private and push_to_hub is None:
        raise UsageError("--private is about --push-to-hub, and that is not given")
    options = {
        "convert.merge_threshold_s": merge_threshold,
        "convert.min_duration_s": min_duration,
        "convert.max_duration_s": max_duration,
        "convert.cut_start_s": cut_start,
        "convert.cut_end_s": cut_end,
        "convert.min_speech_s": min_speech_duration,
        "convert.keep_audience": keep_audience or None,
        "convert.enhance": enhance,
        "convert.speaker_model": speaker,
    }
    settings = settings_from(config, set_values, options=options)
    from sca.data.shows.convert import convert as run

    infos = info_dir if info_dir is not None else [audio_dir.parent / "video_downloads"]
    with audio_progress("shows", quiet=quiet) as progress:
        summary = run(
            input_file,
            audio_dir,
            output_dir,
            settings,
            info_dirs=infos,
            jobs=jobs or 0,
            force=force,
            retry_failed=retry_failed,
            listener=progress,
        )
    if not quiet:
        _print_notes(summary)
    url = None
    try:
        if push_to_hub is not None:
            url = _push(output_dir, push_to_hub, private)
    finally:  # the data set is complete even if the upload fails
        if json:
            emit_json(_document(summary, url))
        else:
            _print_summary(summary, url)
    if summary.failed:
        total = summary.details.shows + len(summary.dropped) + len(summary.failed)
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(total, 'line')} failed",
            hint=f"the reasons are in {output_dir / 'ledger.jsonl'}",
        )


def _push(root: Path, repo: str, private: bool) -> str:
    from sca.data.datasets.hub import push

    return push(root, repo, private=private)


def _print_notes(summary: "RunSummary[ConvertDetails]") -> None:
    notes = [f"{item}: failed: {reason}" for item, reason in summary.failed]
    notes += [f"{item}: dropped: {reason}" for item, reason in summary.dropped]
    notes += [f"{item}: {note}" for item, note in summary.notes]
    say_notes(notes, " in ledger.jsonl")


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
        markup=False,
    )
    counts = ", ".join(f"{name} {count}" for name, count in sorted(details.counts.items()) if count)
    console.print(
        f"events: {counts or 'all became targets'}; shows without a speaker embedding: {details.without_embedding}"
    )
    if url is not None:
        console.print(f"uploaded to {url}", markup=False)
