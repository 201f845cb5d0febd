"""Run the stages of a recipe in their order: what is done stays, what is missing is done, a failure stops."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sca.errors import PartialFailure, ScaError, UsageError, unknown_name
from sca.recipes.child import ChildEnd, run_child
from sca.recipes.estimate import hours_done
from sca.recipes.plan import Plan, PlannedStage
from sca.recipes.state import DONE, FAILED, PARTIAL, STARTED, RunState, inputs_print
from sca.urls.address import is_url

__all__ = ["RunListener", "Selection", "StageFailedError", "StageResult", "failure_of", "run_recipe", "selected"]

_PARTIAL_CODE = 7
_LEAST_HOURS = 0.002
"""Hours of audio from which on a run measures the rate of a stage."""
State = Literal["done", "done before", "partial", "failed", "not selected", "not reached"]


class StageFailedError(ScaError):
    """A stage failed. The exit code is that of its command."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 5) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Selection:
    """Which stages to run.

    Attributes:
        first: The name of the first one; None for that of the recipe.
        last: The name of the last one; None for that of the recipe.
        only: The names of the only ones; empty for all.
        again: Whether stages that are done run again. Their commands redo nothing that is done.
    """

    first: str | None = None
    last: str | None = None
    only: Sequence[str] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class StageResult:
    """What became of a stage.

    Attributes:
        stage: The stage.
        state: What became of it.
        exit_code: The exit code of its command; None if it did not run now.
        wall_s: Seconds that it ran now.
        cpu_s: Their processor time; None if unknown.
    """

    stage: PlannedStage
    state: State
    exit_code: int | None = None
    wall_s: float = 0.0
    cpu_s: float | None = None


class RunListener:
    """Callbacks of a run; ignores all."""

    def on_stage_start(self, stage: PlannedStage, number: int, total: int) -> None:
        """Handle the start of a stage.

        Args:
            stage: The stage.
            number: Its place in the recipe, from 1.
            total: The number of stages.
        """

    def on_stage_end(self, result: StageResult) -> None:
        """Handle the end of a stage, also of one that did not have to run."""


def selected(plan: Plan, selection: Selection) -> list[PlannedStage]:
    """Return the stages that a selection has.

    Raises:
        UsageError: A name is none of a stage, or the last one is before the first.
    """
    names = [stage.name for stage in plan.stages]
    for option, given in (("--from", selection.first), ("--until", selection.last)):
        _check_name(option, given, names)
    for given in selection.only:
        _check_name("--only", given, names)
    if selection.only and (selection.first or selection.last):
        raise UsageError("--only and --from or --until exclude each other")
    first = names.index(selection.first) if selection.first else 0
    last = names.index(selection.last) if selection.last else len(names) - 1
    if last < first:
        raise UsageError(f"--until {selection.last} is before --from {selection.first}")
    return [stage for stage in plan.stages[first : last + 1] if not selection.only or stage.name in selection.only]


def _check_name(option: str, name: str | None, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        raise unknown_name(f"{option}: the recipe has no stage {name}", name, names)


@dataclass(slots=True)
class _Run:
    """A run in progress.

    Attributes:
        state: The state in the folder.
        listener: Receives the progress.
        to_stderr: Whether results of stages go to standard error.
        child: Runs the words of a command.
        results: What became of the stages so far.
    """

    state: RunState
    listener: RunListener
    to_stderr: bool
    child: Callable[..., ChildEnd]
    results: list[StageResult] = field(default_factory=list)

    def add(self, result: StageResult) -> None:
        self.results.append(result)
        self.listener.on_stage_end(result)

    def run(self, stage: PlannedStage) -> StageResult:
        """Run a stage, and record its start and its end."""
        number = self.state.plan.stages.index(stage) + 1
        self.listener.on_stage_start(stage, number, len(self.state.plan.stages))
        begin, inputs = _now(), inputs_print(stage.inputs)
        earlier = self.state.entries().get(stage.name)
        kept = {"measured": earlier.extra["measured"]} if earlier and "measured" in earlier.extra else {}
        before = hours_done(self.state.plan, stage, ended=False)
        self.state.record(stage, STARTED, start=begin, **kept)
        end = self.child(stage.words, to_stderr=self.to_stderr)
        hours = hours_done(self.state.plan, stage, ended=True) - before
        if end.code in (0, _PARTIAL_CODE) and hours >= _LEAST_HOURS:
            kept = {"measured": {"hours": round(hours, 4), "wall_s": round(end.wall_s, 3)}}
        facts = {"start": begin, "end": _now(), "exit_code": end.code, "wall_s": round(end.wall_s, 3), "inputs": inputs}
        if end.cpu_s is not None:
            facts["cpu_s"] = round(end.cpu_s, 3)
        status = {0: DONE, _PARTIAL_CODE: PARTIAL}.get(end.code, FAILED)
        reason = {DONE: None, PARTIAL: "some items failed"}.get(status, end.described)
        self.state.record(stage, status, reason, **facts, **kept)
        states: dict[str, State] = {DONE: "done", PARTIAL: "partial", FAILED: "failed"}
        return StageResult(stage, states[status], end.code, end.wall_s, end.cpu_s)


def run_recipe(
    plan: Plan,
    selection: Selection | None = None,
    *,
    listener: RunListener | None = None,
    to_stderr: bool = False,
    child: Callable[..., ChildEnd] | None = None,
) -> list[StageResult]:
    """Run the stages of a recipe that are not done.

    Args:
        plan: The recipe.
        selection: Which stages to run; all if not set.
        listener: Receives the progress.
        to_stderr: Whether the results that the commands print go to standard error.
        child: Runs the words of a command; `run_child` if not set.

    Returns:
        What became of every stage, up to the one that failed and with those after it as not reached.

    Raises:
        UsageError: The selection does not suit the recipe, or the output of a stage that is not selected does not exist.
        InputError: Another run holds the folder.
        OutputError: The folder has something else in it, or cannot be written to.
        KeyboardInterrupt: The run was interrupted; the stage in progress has ended.
    """
    selection = selection or Selection()
    chosen = selected(plan, selection)
    state = RunState(plan)
    run = _Run(state, listener or RunListener(), to_stderr, child or run_child)
    with state.held():
        state.write_record()
        stopped = False
        for stage in plan.stages:
            if stopped or stage not in chosen:
                run.add(StageResult(stage, "not reached" if stopped and stage in chosen else "not selected"))
                continue
            if not selection.again and state.is_done(stage, state.entries()):
                run.add(StageResult(stage, "done before", 0))
                continue
            _check_inputs(plan, stage, chosen)
            result = run.run(stage)
            run.add(result)
            stopped = result.state == "failed" or (result.state == "partial" and stage.on_partial == "stop")
        state.settle()
    return run.results


def failure_of(results: Sequence[StageResult]) -> ScaError | None:
    """Return the error of a run: of the stage that failed, or else of those with failed items; None if all is well."""
    for result in results:
        if result.state == "failed":
            end = ChildEnd(result.exit_code or 0, 0.0, None)
            rest = ", and the stages after it did not run" if any(r.state == "not reached" for r in results) else ""
            hint = "the messages above have the reason; the same command continues with this stage"
            if end.code == -getattr(signal, "SIGKILL", 9):
                hint = "the system kills programs that use too much memory: try fewer jobs; the same command continues"
            # 128 and the number of the signal, as shells have it.
            code = end.code if end.code > 0 else 128 - end.code
            return StageFailedError(f"stage {result.stage.name}: {end.described}{rest}", hint=hint, exit_code=code)
    names = [result.stage.name for result in results if result.state == "partial"]
    if not names:
        return None
    stopped = any(result.state == "not reached" for result in results)
    rest = "; the stages after it did not run (on_partial)" if stopped else ""
    return PartialFailure(f"some items failed in {', '.join(names)}{rest}", hint="`sca status` lists them with reasons")


def _check_inputs(plan: Plan, stage: PlannedStage, chosen: Sequence[PlannedStage]) -> None:
    """Check that the outputs of stages that are not selected are there."""
    for earlier in plan.stages[: plan.stages.index(stage)]:
        place = earlier.output
        if earlier in chosen or place is None or place not in stage.inputs or is_url(place):
            continue
        if not Path(place).exists():
            raise UsageError(
                f"stage {stage.name} reads {place}, the output of stage {earlier.name}, which does not exist",
                hint=f"run {earlier.name} first: --from {earlier.name}",
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
