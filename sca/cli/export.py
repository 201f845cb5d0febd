"""`sca export`: write a duplex data set in other formats."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import ANYWHERE, place_of, show_shard, submitted
from sca.cli.shared.completion import complete_formats
from sca.cli.shared.console import emit_json, out
from sca.cli.shared.hub import Hub, Private, PushToHub
from sca.cli.shared.options import Force, Jobs, Json, Quiet, RetryFailed, parse_size
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure
from sca.textutil import command_line, counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.export.run import ExportDetails
    from sca.data.runs.summary import RunSummary

__all__ = ["export"]


@settings_options(*ANYWHERE)
def export(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set made by sca build-duplex.")],
    to: Annotated[
        str,
        typer.Option(
            autocompletion=complete_formats,
            metavar="[parquet|webdataset|moshi|lhotse|chat|NAME]",
            help="The format. parquet and webdataset keep the rows and can be verified; moshi and lhotse contain audio and "
            "words; chat has lists of messages with audio; other names are formats of installed plugins.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the export to.")],
    shard_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Approximate maximum size of a file (moshi, lhotse, chat: of a folder), such as 200MB or 1GiB; "
            "K is 1000 bytes, Ki is 1024.",
        ),
    ] = "500MB",
    *,
    settings: "Settings",
    push_to_hub: PushToHub = None,
    private: Private = False,
    jobs: Jobs = None,
    retry_failed: RetryFailed = True,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a data set as Parquet, WebDataset, moshi-finetune, lhotse or chat messages.

    The source is first checked against its own report. An interrupted export continues where it stopped, and every run
    writes the same bytes.
    """
    from sca.data.export.run import export as run

    hub = Hub(push_to_hub, private)
    hub.check()
    size = parse_size(shard_size, "--shard-size")
    if submitted(settings, json=json):
        return
    with place_of(settings, jobs) as place, audio_progress("shards", quiet=quiet) as progress:
        summary = run(
            data,
            output,
            to,
            shard_bytes=size,
            jobs=jobs or 0,
            force=force,
            retry_failed=retry_failed,
            listener=progress,
            executor=place.executor,
            part=place.shard,
        )
    if place.shard is not None:
        show_shard(summary, place, json=json, quiet=quiet)
        return
    url = None
    try:
        if not summary.failed:
            url = hub.push(output)
    finally:  # the export exists even if the upload fails
        if json:
            emit_json(_document(summary, url))
        else:
            _print_summary(summary, url)
    if summary.failed:
        name, reason = summary.failed[0]
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(summary.total, 'shard')} failed, so the export is unfinished; {name}: {reason}",
            hint="run the same command again; finished shards are kept",
        )


def _document(summary: "RunSummary[ExportDetails]", url: str | None) -> dict[str, object]:
    details = summary.details
    return {
        "output": str(details.root),
        "format": details.format,
        "shards": details.shards,
        "made": summary.made,
        "items": details.items,
        "files": details.files,
        "bytes": details.bytes,
        "audio_s": round(details.audio_s, 3),
        "failed": dict(summary.failed),
        "hub": url,
    }


def _print_summary(summary: "RunSummary[ExportDetails]", url: str | None) -> None:
    console, details = out(), summary.details
    console.print(
        f"{counted(details.items, 'item')} in {counted(details.shards, 'shard')} ({summary.made} made now), "
        f"{counted(details.files, 'file')}, {details.bytes / 1e6:.1f} MB in {details.root}",
    )
    if url is not None:
        console.print(f"uploaded to {url}")
    if details.can_verify and not summary.failed:
        console.print(f"verify it:  {command_line('verify', details.root)}")
