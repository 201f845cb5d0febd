"""`sca status`: show what is in an output folder, and what failed."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out, print_line
from sca.cli.shared.options import Json
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.runs.status import StageStatus

__all__ = ["status"]

_REASONS_SHOWN = 8


def status(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A folder that a command of sca wrote to, or the folder of several of these."
        ),
    ],
    failed: Annotated[bool, typer.Option("--failed", help="List every failed item with its reason.")] = False,
    json: Json = False,
) -> None:
    """Show the stages in an output folder: items by status, reasons with counts, and hours of audio.

    Reads the ledgers and records of sca download, transcode, transcribe, convert, synth, build-duplex, export and run.
    """
    from sca.data.runs.status import read_status

    stages = read_status(folder)
    if json:
        emit_json({"path": str(folder), "stages": [_document(stage, failed=failed) for stage in stages]})
        return
    for stage in stages:
        if failed:
            _print_failed(stage)
        else:
            _print_stage(stage)


def _document(stage: "StageStatus", *, failed: bool) -> dict[str, object]:
    document: dict[str, object] = {
        "stage": stage.stage,
        "path": str(stage.path),
        "complete": stage.is_complete,
        "items": stage.counts,
        "hours": round(stage.audio_s / 3600, 4),
        "reasons": [asdict(reason) for reason in stage.reasons],
    }
    if failed:
        document["failed"] = [asdict(item) for item in stage.failed]
    return document


def _print_stage(stage: "StageStatus") -> None:
    console = out()
    counts = ", ".join(f"{count} {name}" for name, count in stage.counts.items()) or "no items"
    state = "" if stage.is_complete else "; unfinished"
    hours = "" if stage.stage == "run" else f" {stage.audio_s / 3600:.2f} h;"  # its items are stages
    console.print(f"{stage.stage}: {counts};{hours} in {stage.path}{state}")
    for reason in stage.reasons[:_REASONS_SHOWN]:
        console.print(f"    {reason.count} {reason.status}: {reason.reason}")
    hidden = len(stage.reasons) - _REASONS_SHOWN
    if hidden > 0:
        console.print(f"    … and {counted(hidden, 'other reason')}; --json lists all")


def _print_failed(stage: "StageStatus") -> None:
    for item in stage.failed:
        retry = " (may succeed later)" if item.retryable else ""
        print_line(f"{stage.stage}: {item.item}: {item.reason}{retry}")
