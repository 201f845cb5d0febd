"""The callback of transformers' `Trainer` that evaluates the model while it is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (  # noqa: TID253 - the Trainer requires its base class
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from typing_extensions import override

from sca.config.sections.train.config import TrainConfig
from sca.textutil import counted
from sca.train.evaluation.alarms import alarm_text, same_alarms
from sca.train.evaluation.best import replace_best
from sca.train.evaluation.evaluate import Evaluation, Evaluator, headline
from sca.train.evaluation.records import EvaluationFile
from sca.train.evaluation.report import write_report

__all__ = ["EVALUATIONS", "EvaluationCallback"]

log = logging.getLogger(__name__)

EVALUATIONS = "evaluations.jsonl"
"""The file of the evaluations in the folder of a run."""


class EvaluationCallback(TrainerCallback):  # type: ignore[misc]
    """Evaluates every `train.eval_every` steps and at the end, and keeps the weights of the best evaluation.

    The training is the same to the last bit with and without it.

    Attributes:
        log_metrics: Called with the metrics of each evaluation as `eval/NAME`, for the log and the trackers; usually
            `Trainer.log`, which exists later than its callbacks.
    """

    def __init__(self, evaluator: Evaluator, train: TrainConfig, output: Path, save: Callable[[Path], None]) -> None:
        """Create the callback.

        Args:
            evaluator: Makes the evaluations.
            train: The settings of the run.
            output: The folder of the run.
            save: Saves the present weights to a folder; called by all processes, of which the first one writes.
        """
        self._evaluator, self._train, self._output, self._save = evaluator, train, output, save
        self._file = EvaluationFile(output / EVALUATIONS)
        self.log_metrics: Callable[[dict[str, float]], None] | None = None

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget the evaluations after the step from which the run continues."""
        self._file.forget_after(state.global_step, write=state.is_world_process_zero)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate if it is due."""
        if self._train.eval_every and state.global_step % self._train.eval_every == 0:
            self._evaluate(state, control)

    @override
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the last weights, unless they have been evaluated or the run was interrupted, and write the report."""
        ended = state.global_step >= state.max_steps
        if self._train.eval_every and ended and not any(one["step"] == state.global_step for one in self._file.lines):
            self._evaluate(state, control)
        if state.is_world_process_zero:
            write_report(self._output)

    def _evaluate(self, state: TrainerState, control: TrainerControl) -> None:
        found, first = self._evaluator(state.global_step), state.is_world_process_zero
        best = self._file.best
        self._file.add(self._line(state, found), write=first)
        if self._file.best is not best:
            replace_best(self._output, self._save, self._file.lines[-1], write=first)
        if self.log_metrics is not None:
            self.log_metrics({f"eval/{name}": value for name, value in found.metrics.items()})
        if first:
            self._tell(state.global_step, found)
            write_report(self._output)
        stuck = same_alarms(self._file.alarms)
        if self._train.stop_when_stuck and stuck >= self._train.stop_when_stuck:
            control.should_training_stop = True
            if first:
                log.warning(
                    "the training ends: %s with the same alarm (train.stop_when_stuck)", counted(stuck, "evaluation")
                )

    def _line(self, state: TrainerState, found: Evaluation) -> dict[str, Any]:
        """Return the line of an evaluation in the file."""
        return {
            "step": state.global_step,
            "epoch": None if state.epoch is None else round(state.epoch, 4),
            "rows": found.rows,
            "free_rows": found.free_rows,
            "failed": found.failed,
            "seconds": found.seconds,
            "alarm": found.alarm,
            "metrics": found.metrics,
            "samples": [path.relative_to(self._output).as_posix() for path in found.samples],
        }

    def _tell(self, step: int, found: Evaluation) -> None:
        rows = counted(found.rows, "row")
        if found.free_rows != found.rows:
            rows += f", {found.free_rows} of them freely"
        log.info("evaluation at step %s: %s (%s, %.0f s)", step, headline(found.metrics), rows, found.seconds)
        if found.alarm is not None:
            log.warning("step %s: %s", step, alarm_text(found.alarm, found.metrics))
