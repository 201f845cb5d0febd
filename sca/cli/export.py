"""`sca export`: a duplex data set in the formats of others."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Force, Jobs, Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.retry import RetryFailed
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.export.run import ExportDetails
    from sca.data.runs.summary import RunSummary

__all__ = ["export", "parse_size"]

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}


def export(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set made by sca build-duplex.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="[parquet|webdataset|moshi|lhotse|NAME]",
            help="The format. parquet and webdataset keep the rows and can be verified; moshi and lhotse contain audio and "
            "words; other names are formats of installed plugins.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write the export to.")],
    shard_size: Annotated[
        str,
        typer.Option(metavar="SIZE", help="About how large a file (moshi, lhotse: a folder) may get, such as 200MB."),
    ] = "500MB",
    jobs: Jobs = None,
    retry_failed: RetryFailed = True,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a data set as Parquet, WebDataset, moshi-finetune or lhotse.

    The source is held against its own report first. An export that was interrupted goes on where it was, and every run makes the
    same bytes.
    """
    from sca.data.export.run import export as run

    size = parse_size(shard_size)
    with audio_progress("shards", quiet=quiet) as progress:
        summary = run(
            data,
            output,
            to,
            shard_bytes=size,
            jobs=jobs or 0,
            force=force,
            retry_failed=retry_failed,
            listener=progress,
        )
    if as_json:
        emit_json(_document(summary))
    else:
        _print_summary(summary)
    if summary.failed:
        name, reason = summary.failed[0]
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(summary.total, 'shard')} failed, so the export is unfinished; {name}: {reason}",
            hint="run the same command again; finished shards are kept",
        )


def _document(summary: "RunSummary[ExportDetails]") -> dict[str, object]:
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
    }


def _print_summary(summary: "RunSummary[ExportDetails]") -> None:
    console, details = out(), summary.details
    console.print(
        f"{counted(details.items, 'item')} in {counted(details.shards, 'shard')} ({summary.made} made now), "
        f"{counted(details.files, 'file')}, {details.bytes / 1e6:.1f} MB in {details.root}",
        markup=False,
    )
    if details.can_verify and not summary.failed:
        console.print(f"verify it:  sca verify {details.root}", markup=False)


def parse_size(text: str) -> int:
    """Bytes of `200MB`, `1.5GiB` or `1000000`. Raises `UsageError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if not found or found[2] not in _UNITS or float(found[1]) * _UNITS[found[2]] < 1:
        raise UsageError(f"--shard-size should be a size such as 200MB or 1GiB, got {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])
