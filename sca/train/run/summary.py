"""What a training run did, and what it reports meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["TrainListener", "TrainSummary"]


class TrainListener(Protocol):
    """Receives what a run reports, in the main process."""

    def on_note(self, text: str) -> None:
        """Receive one line about the start of the run: what is trained, from where it continues."""
        ...

    def on_log(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """Receive a line of the log.

        Args:
            step: Optimiser steps so far.
            steps: Optimiser steps of the whole run.
            values: Losses, learning rate and others by their names.
        """
        ...


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What a run did.

    Attributes:
        output: The output folder.
        method: `lora` or `full`.
        steps: Optimiser steps of the whole run.
        made: Optimiser steps of this run; fewer if it continued an earlier one.
        epochs: Passes over the training rows.
        rows: Rows of the split train.
        validation_rows: Rows of the split validation; 0 if the data set has none.
        trainable: Number of weights that were trained.
        loss: The first and the last logged mean loss; None if nothing was logged.
        train_s: Duration of the training in seconds, without loading.
        last: The folder of the last checkpoint, which the live engine loads.
        resumed_from: The step that the run continued from; None if it began.
        best: The folder of the best checkpoint by the evaluation; None without one.
        is_main: Whether this is the main one of several processes, which reports.
    """

    output: Path
    method: str
    steps: int
    made: int
    epochs: float
    rows: int
    validation_rows: int
    trainable: int
    loss: tuple[float, float] | None
    train_s: float
    last: Path
    resumed_from: int | None = None
    best: Path | None = None
    is_main: bool = True
