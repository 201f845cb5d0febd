"""`sca eval`: how well an engine takes turns, and a detector hears the audience."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, out, stderr
from sca.cli.shared.options import ConfigFile, Engine, Force, Json, Quiet, SetValues, settings_from
from sca.cli.shared.progress import audio_progress
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.reactions.evaluate import Evaluation
    from sca.infer.eval.full_duplex_bench import BenchItemResult

__all__ = ["app"]

app = typer.Typer(
    help="Measure how well an engine takes turns, and a detector hears the audience.", no_args_is_help=True
)

_COLUMNS = {
    "take_over_rate": "take-over",
    "response_latency_s": "response s",
    "spoke_in_pause_rate": "in pause",
    "stop_latency_s": "stop s",
    "backchannels_per_s": "backch./s",
}


@app.command()
def fdb(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folders <task>/<id>/input.wav, or one task's.")],
    engine: Engine = None,
    force: Force = False,
    config: ConfigFile = None,
    set_values: SetValues = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Answer a folder in Full-Duplex-Bench layout, in virtual time, and measure the turn-taking from the sound.

    Writes output.wav, as long as the input and in time with it, and timing.json beside each input.wav; a second run does only
    what is missing or was made by other settings.
    """
    from sca.infer.engines.registry import load_engine
    from sca.infer.eval.full_duplex_bench import NEEDS_MORE, find_items, run_items

    settings = settings_from(config, set_values, options={"live.engine": engine})
    items = find_items(data)
    answering = load_engine(settings.live.engine, settings)
    with audio_progress("items", quiet=quiet) as progress:
        progress.start(len(items), len(items))
        outcomes, report = run_items(
            items,
            answering,
            settings,
            force=force,
            on_item=lambda outcome, heard_s: progress.advance(f"{outcome.item.task}/{outcome.item.name}", heard_s),
        )
    if as_json:
        emit_json(report)
    else:
        _show(report)
        stderr().print(NEEDS_MORE, markup=False)
    _complain(outcomes)


def _show(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("task", "items", *_COLUMNS.values()):
        table.add_column(heading)
    for task, values in report["tasks"].items():
        cells = ["" if values[name] is None else f"{values[name]:.3f}" for name in _COLUMNS]
        table.add_row(task, str(values["items"]), *cells)
    out().print(table)


def _complain(outcomes: "list[BenchItemResult]") -> None:
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        stderr().print(f"failed: {outcome.item.task}/{outcome.item.name}: {outcome.error}", markup=False)
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {counted(len(outcomes), 'item')} failed",
            hint="repair or remove them; the same command does only those",
        )


@app.command()
def turns(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR|FILES", help="Sound files, or folders of them.")],
    engine: Engine = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the JSON here.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    quiet: Quiet = False,
) -> None:
    """Print as JSON when the engine commits to each end of turn, and how long after the speech that is."""
    from sca.audio.vad import SileroVad
    from sca.errors import ScaError, check_target
    from sca.infer.engines.registry import load_engine
    from sca.infer.eval.full_duplex_bench import find_audio_files, turn_latencies
    from sca.infer.session.recorder import write_timing_report

    settings = settings_from(config, set_values, options={"live.engine": engine})
    files = find_audio_files(paths)
    if output is not None:
        check_target(output)
    answering, vad = load_engine(settings.live.engine, settings), SileroVad()
    found: list[dict[str, Any]] = []
    failed = []
    with audio_progress("files", quiet=quiet) as progress:
        progress.start(len(files), len(files))
        for file in files:
            try:
                found.append(turn_latencies(file, answering, settings, vad))
                progress.advance(file.name, found[-1]["duration_s"])
            except ScaError as error:
                failed.append(error.message)
                progress.advance(file.name, 0.0)
    document = {"engine": answering.info.name, "files": found, "failed": failed}
    if output is not None:
        write_timing_report(output, document)
    else:
        emit_json(document)
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {counted(len(files), 'file')} failed: {failed[0]}", hint="repair or leave them out"
        )


@app.command()
def reactions(
    predicted: Annotated[Path, typer.Argument(metavar="PRED.jsonl", help="What sca transcribe wrote.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.jsonl", help="The same, marked by a person.")],
    as_json: Json = False,
) -> None:
    """Print event F1 per reaction of the audience: start and end within 0.5 s, each event counted once."""
    from sca.data.reactions.evaluate import COLLAR_S, compare, read_timelines

    files = {path: read_timelines(path) for path in (predicted, truth)}
    scored = compare(files[predicted].shows, files[truth].shows)
    broken = [f"{path}: {line}" for path, file in files.items() for line in file.broken]
    if as_json:
        emit_json(
            {
                "collar_s": COLLAR_S,
                "shows": scored.shows,
                "classes": {name: counts.measures() for name, counts in scored.classes.items()},
                "all": scored.total.measures(),
                "not_predicted": scored.missed,
                "not_in_truth": scored.unmarked,
                "broken": broken,
            }
        )
    else:
        _show_reactions(scored)
    for name in scored.missed:
        stderr().print(f"{name}: no prediction; its events count as not found", markup=False)
    for name in scored.unmarked:
        stderr().print(f"{name}: not in {truth}; it does not count", markup=False)
    for line in broken:
        stderr().print(f"passed over: {line}", markup=False)
    if broken:
        raise PartialFailure(
            f"{counted(len(broken), 'line')} could not be read", hint="repair them; the others were compared"
        )


def _show_reactions(scored: "Evaluation") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in ("reaction", "F1", "precision", "recall", "found", "predicted", "true"):
        table.add_column(heading)
    for name, counts in [*scored.classes.items(), ("all", scored.total)]:
        values = counts.measures()
        ratios = ["-" if values[key] is None else f"{values[key]:.3f}" for key in ("f1", "precision", "recall")]
        table.add_row(name, *ratios, str(counts.found), str(counts.predicted), str(counts.true))
    out().print(table)
