"""`sca eval fdb`: run an engine on Full-Duplex-Bench."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, print_note
from sca.cli.shared.options import Force, Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.eval.full_duplex_bench import BenchItemResult

__all__ = ["fdb"]

_COLUMNS = {
    "take_over_rate": "take-over",
    "response_latency_s": "response s",
    "spoke_in_pause_rate": "in pause",
    "stop_latency_s": "stop s",
    "backchannels_per_s": "backch./s",
}


@settings_options("live.engine")
def fdb(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of <task>/<id>/input.wav, or the folder of one task.")
    ],
    *,
    force: Force = False,
    settings: "Settings",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run an engine on a folder in Full-Duplex-Bench layout, in virtual time, and measure its turn-taking.

    Writes output.wav, as long as the input and in time with it, and timing.json beside each input.wav. A second run
    processes only items that are missing or were made with other settings.
    """
    from sca.infer.engines.choice import simple_engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.eval.full_duplex_bench import NEEDS_MORE, find_items, run_items

    items = find_items(data)
    engine = load_engine(simple_engine(settings), settings)
    with audio_progress("items", quiet=quiet) as progress:
        progress.start(len(items), len(items))
        results, report = run_items(
            items,
            engine,
            settings,
            force=force,
            on_item=lambda result, heard_s: progress.advance(f"{result.item.task}/{result.item.name}", heard_s),
        )
    if as_json:
        emit_json(report)
    else:
        _show(report)
        print_note(NEEDS_MORE)
    _report_failures(results)


def _show(report: Mapping[str, Any]) -> None:
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table("task", "items", *_COLUMNS.values())
    for task, values in report["tasks"].items():
        cells = ["" if values[name] is None else f"{values[name]:.3f}" for name in _COLUMNS]
        table.add_row(task, str(values["items"]), *cells)
    print_table(table)


def _report_failures(results: "Sequence[BenchItemResult]") -> None:
    failed = [result for result in results if result.error is not None]
    for result in failed:
        print_note(f"failed: {result.item.task}/{result.item.name}: {result.error}")
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {counted(len(results), 'item')} failed",
            hint="repair or remove them; the same command processes only those",
        )
