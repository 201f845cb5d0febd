"""`sca eval fdb`: run an engine on Full-Duplex-Bench."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, print_note
from sca.cli.shared.options import Force, Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.eval.full_duplex_bench import BenchItemResult
    from sca.infer.eval.operating_curve import CurveReport

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
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Compare values of a setting as an operating curve: qwen.silence_bias=-2:2:0.5, or a list a,b,c.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="With --sweep: folder for the outputs of each value, curve.json and curve.svg.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    settings: "Settings",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run an engine on a folder in Full-Duplex-Bench layout, in virtual time, and measure its turn-taking.

    Writes output.wav, as long as the input and in time with it, and timing.json beside each input.wav. A second run
    processes only items that are missing or were made with other settings. With --sweep nothing is written beside the inputs.
    """
    if sweep is not None:
        _sweep(data, sweep, output, settings, force=force, quiet=quiet, as_json=as_json)
        return
    if output is not None:
        raise UsageError("-o is for --sweep; without it, outputs are written beside the inputs")
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


def _sweep(
    data: Path, text: str, output: Path | None, settings: "Settings", *, force: bool, quiet: bool, as_json: bool
) -> None:
    from sca.files.atomic import atomic_write
    from sca.infer.engines.choice import simple_engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.eval.curve_picture import curve_svg
    from sca.infer.eval.full_duplex_bench import find_items
    from sca.infer.eval.operating_curve import measure_curve, parse_sweep
    from sca.infer.session.report import write_report

    wanted, items = parse_sweep(text), find_items(data)
    with TemporaryDirectory(prefix="sca-sweep-") as temporary, audio_progress("items", quiet=quiet) as progress:
        progress.start(len(items) * len(wanted.values), len(items) * len(wanted.values))
        results, report = measure_curve(
            items,
            wanted,
            settings,
            lambda chosen: load_engine(simple_engine(chosen), chosen),
            Path(temporary) if output is None else output,
            force=force,
            on_item=lambda result, heard_s: progress.advance(f"{result.item.task}/{result.item.name}", heard_s),
        )
    if output is not None:
        write_report(output / "curve.json", report)
        with atomic_write(output / "curve.svg") as path:
            path.write_text(curve_svg(report), encoding="utf-8")
    if as_json:
        emit_json(report, "sweep")
    else:
        _show_curve(report)
    _report_failures(results)


def _show_curve(report: "CurveReport") -> None:
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table(report["setting"], "take-over", "false barge-in", "response s", "items")
    for point in report["points"]:
        rates = (point["take_over_rate"], point["false_barge_in_rate"], point["response_latency_s"])
        cells = ["" if rate is None else f"{rate:.3f}" for rate in rates]
        table.add_row(str(point["value"]), *cells, str(point["items"]))
    print_table(table)


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
