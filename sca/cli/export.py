"""`sca export`: a duplex data set in the formats of others."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Force, Jobs, Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.errors import UsageError
from sca.textutil import counted

__all__ = ["export", "parse_size"]

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}


class To(StrEnum):
    """The formats there are."""

    parquet = "parquet"
    webdataset = "webdataset"
    moshi = "moshi"
    lhotse = "lhotse"


def export(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set made by sca build-duplex.")],
    to: Annotated[
        To,
        typer.Option(
            help="parquet and webdataset keep the rows and can be verified; moshi and lhotse hold audio and words.",
            show_choices=True,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write the export to.")],
    shard_size: Annotated[
        str,
        typer.Option(metavar="SIZE", help="About how large a file (moshi, lhotse: a folder) may get, such as 200MB."),
    ] = "500MB",
    jobs: Jobs = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a data set as Parquet, WebDataset, moshi-finetune or lhotse.

    The source is held against its own report first. An export that was interrupted goes on where it was, and every run makes the
    same bytes.
    """
    from sca.data.export.run import export as write

    size = parse_size(shard_size)
    with audio_progress("shards", quiet=quiet) as progress:
        done = write(
            data,
            output,
            to.value,
            shard_bytes=size,
            jobs=jobs or 0,
            force=force,
            on_start=progress.start,
            on_shard=progress.advance,
        )
    if as_json:
        emit_json(
            {
                "output": str(output),
                "format": done.format,
                "shards": done.shards,
                "made": done.made,
                "items": done.items,
                "files": done.files,
                "bytes": done.bytes,
                "audio_s": round(done.audio_s, 3),
            }
        )
        return
    console = out()
    console.print(
        f"{counted(done.items, 'item')} in {counted(done.shards, 'shard')} ({done.made} made now), "
        f"{counted(done.files, 'file')}, {done.bytes / 1e6:.1f} MB "
        f"in {output}",
        markup=False,
    )
    if to in (To.parquet, To.webdataset):
        console.print(f"prove it:  sca verify {output}", markup=False)


def parse_size(text: str) -> int:
    """Bytes of `200MB`, `1.5GiB` or `1000000`. Raises `UsageError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if not found or found[2] not in _UNITS or float(found[1]) * _UNITS[found[2]] < 1:
        raise UsageError(f"--shard-size should be a size such as 200MB or 1GiB, got {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])
