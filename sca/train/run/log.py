"""The log of a run: `train.jsonl` in the output folder, and the lines that the command prints."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback  # noqa: TID253 - the Trainer requires its base class
from typing_extensions import override

from sca.data.runs.files import append_line, write_json_lines
from sca.data.runs.json_lines import lines_in
from sca.train.run.summary import TrainListener

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

__all__ = ["LOG", "LogWriter", "first_and_last", "read_log"]

LOG = "train.jsonl"


def read_log(output: Path) -> list[dict[str, Any]]:
    """Return the lines of the log of a run; none if it has no log."""
    lines = []
    for _, line in lines_in(output / LOG) if (output / LOG).is_file() else ():
        try:
            document = json.loads(line)
        except ValueError:  # the end of a line that a killed run was writing
            continue
        if isinstance(document, dict):
            lines.append(document)
    return lines


class LogWriter(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Writes the log, and passes its lines to a listener."""

    def __init__(self, output: Path, listener: TrainListener | None, resumed_from: int | None) -> None:
        """Create the callback.

        Args:
            output: The output folder.
            listener: Receives every line.
            resumed_from: The step that the run continues from. Lines after it belong to steps that are made again.
        """
        self._path, self._listener = output / LOG, listener
        self._resumed_from, self._began = resumed_from, time.monotonic()
        self.losses: list[float] = []

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        self._began = time.monotonic()
        if state.is_world_process_zero:
            kept = [line for line in read_log(self._path.parent) if line.get("step", 0) <= (self._resumed_from or 0)]
            write_json_lines(self._path, kept)

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        if logs is None or not state.is_world_process_zero or "train_loss" in logs:  # the totals of the Trainer
            return
        if "loss" in logs:
            self.losses.append(logs["loss"])
        line = {"step": state.global_step, "time_s": round(time.monotonic() - self._began, 3), **logs}
        append_line(self._path, json.dumps(line).encode() + b"\n")
        if self._listener is not None:
            self._listener.on_log(state.global_step, state.max_steps, logs)


def first_and_last(losses: Sequence[float]) -> tuple[float, float] | None:
    """Return the first and the last loss; None without any."""
    return (losses[0], losses[-1]) if losses else None
