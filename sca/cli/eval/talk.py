"""`sca eval talk`: talks of an engine with a simulated user."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, print_note
from sca.cli.shared.options import Json, Quiet, count_option
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sca.config import Settings
    from sca.simulate.measure import LatencySummary, Rate
    from sca.simulate.run import TalkReport, TalkResult

__all__ = ["talk"]

_MAX_TALKS = 10_000


@settings_options("live.engine", "synth.voices", "synth.seed")
def talk(
    scenarios: Annotated[
        str, typer.Option(metavar="LIST", help="answer, interrupt, backchannel, hold, noise, or all.")
    ] = "all",
    talks: Annotated[int, count_option("--talks", help="Talks in each scenario.", least=1, most=_MAX_TALKS)] = 10,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for recordings, events and report.json.", show_default=False
        ),
    ] = None,
    *,
    settings: "Settings",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Let a simulated user talk to an engine, in virtual time, and measure its turn-taking.

    The user asks, interrupts, nods and pauses, and reacts to what the engine plays; the times of its words are exact.
    Recordings in -o have the user on the left channel and the engine on the right.
    """
    from sca.infer.engines.choice import simple_engine
    from sca.infer.engines.registry import load_engine
    from sca.simulate.plan import parse_scenarios
    from sca.simulate.run import hold_talks

    wanted = parse_scenarios(scenarios)
    engine = load_engine(simple_engine(settings), settings)
    with audio_progress("talks", quiet=quiet) as progress:
        progress.start(len(wanted) * talks, len(wanted) * talks)
        run = hold_talks(
            engine,
            settings,
            wanted,
            talks,
            output=output,
            on_talk=lambda result: progress.advance(result.name, result.seconds),
        )
    if as_json:
        emit_json(run.report)
    else:
        _show(run.report)
        for note in run.report["notes"]:
            print_note(note)
    _report_failures(run.results)


def _show(report: "TalkReport") -> None:
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table("scenario", "metric", "talks", "rate", "95 %", "mean s", "median s", "max s")
    for scenario, found in report["scenarios"].items():
        rates = {
            "take-over": found["take_over"],
            "false take-over": found["false_takeover"],
            "stop": found["stop"],
            "false stop": found["false_stop"],
        }
        latencies = {"response": found["response_latency"], "stop latency": found["stop_latency"]}
        rows = [
            *(_rate(name, rate) for name, rate in rates.items() if rate is not None),
            *(_latency(name, latency) for name, latency in latencies.items() if latency is not None),
        ]
        if found["not_judged"]:
            rows.append(("not judged", str(found["not_judged"])))
        for row in rows:
            table.add_row(scenario, *row)
    print_table(table)


def _rate(name: str, rate: "Rate") -> tuple[str, ...]:
    return name, f"{rate['count']}/{rate['of']}", f"{rate['rate']:.2f}", f"{rate['low']:.2f}-{rate['high']:.2f}"


def _latency(name: str, latency: "LatencySummary") -> tuple[str, ...]:
    seconds = (f"{value:.3f}" for value in (latency["mean_s"], latency["median_s"], latency["max_s"]))
    return name, str(latency["count"]), "", "", *seconds


def _report_failures(results: "Sequence[TalkResult]") -> None:
    failed = [result for result in results if result.error is not None]
    for result in failed:
        print_note(f"failed: {result.name}: {result.error}")
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {counted(len(results), 'talk')} failed",
            hint="the numbers are those of the other talks" if len(failed) < len(results) else None,
        )
