"""`sca eval turns`: when an engine commits to the end of a turn."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure, ScaError, check_target
from sca.textutil import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sca.config import Settings
    from sca.infer.eval.full_duplex_bench import FileTurns

__all__ = ["turns"]


@settings_options("live.engine")
def turns(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR|FILES", help="Audio files, or folders of them.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the JSON document to this file, and no table.",
            show_default=False,
        ),
    ] = None,
    settings: "Settings",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Print when the engine commits to each end of turn, and the latency from the end of the speech."""
    from sca.audio.vad import shared_vad
    from sca.infer.engines.choice import simple_engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.eval.full_duplex_bench import find_audio_files, turn_latencies
    from sca.infer.session.report import write_report

    files = find_audio_files(paths)
    if output is not None:
        check_target(output)
    engine, vad = load_engine(simple_engine(settings), settings), shared_vad()
    measured: list[FileTurns] = []
    failed: list[str] = []
    with audio_progress("files", quiet=quiet) as progress:
        progress.start(len(files), len(files))
        for file in files:
            try:
                measured.append(turn_latencies(file, engine, settings, vad))
                progress.advance(file.name, measured[-1]["duration_s"])
            except ScaError as error:
                failed.append(error.message)
                progress.advance(file.name, 0.0)
    document = {"engine": engine.info.name, "files": measured, "failed": failed}
    if output is not None:
        write_report(output, document)
    if as_json:
        emit_json(document)
    elif output is None:
        _show(measured)
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {counted(len(files), 'file')} failed: {failed[0]}", hint="repair or leave them out"
        )


def _show(files: "Sequence[FileTurns]") -> None:
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table("turn", "speech end s", "commit s", "latency s", "file")
    for file in files:
        for turn in file["turns"]:
            end_s, latency_s = (
                "" if value is None else f"{value:.2f}" for value in (turn["speech_end_s"], turn["latency_s"])
            )
            table.add_row(str(turn["turn"]), end_s, f"{turn['commit_s']:.2f}", latency_s, file["file"])
    print_table(table)
