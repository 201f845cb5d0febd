"""A training run from a data set to checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.config import Settings
from sca.data.runs.owner import TRAIN, ensure_owned_dir, hold
from sca.errors import OutputError
from sca.textutil import counted
from sca.train.run.data import TrainingData
from sca.train.run.inputs import RunInputs, open_inputs
from sca.train.run.record import check_same_run, write_record
from sca.train.run.summary import TrainListener, TrainSummary

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from sca.train.model.trained import TrainedModel
    from sca.train.run.trainer import ThinkerTrainer

__all__ = ["train"]


def train(
    data: str | Path,
    output: Path,
    settings: Settings,
    *,
    resume: bool = False,
    listener: TrainListener | None = None,
) -> TrainSummary:
    """Train the thinker of a model on the rows of a data set.

    All checks that do not need the weights run before the weights are read. With `train.check`, the model is checked
    before its first step. Ctrl-C and SIGTERM end the run after the
    step in progress, with a checkpoint.

    Args:
        data: The data set: a folder or a URL, see `sca.load`.
        output: The folder of the run.
        settings: `train`, and `qwen` for the model. `audio` and `duplex` are those of the rows.
        resume: Continue the run in the folder from its last whole checkpoint, if it has one.
        listener: Receives what the run reports.

    Returns:
        What the run did.

    Raises:
        MissingToolError: A package of the extra train is not installed.
        InputError: The data set or the model cannot be used, or the loss is not finite.
        OutputError: The folder has another run in it, or cannot be written.
        ConfigError: The settings do not fit the model, the rows, or the run that is continued.
        NoMemoryError: A batch does not fit into memory.
        TrainingInterrupt: A signal arrived; the checkpoint is saved.
    """
    inputs = open_inputs(data, settings)
    from sca.train.run.arguments import training_arguments
    from sca.train.run.weights import load_trained

    arguments = training_arguments(output, inputs.settings)
    with _held(output, arguments):
        start = _start(output, inputs.rows, arguments, resume=resume)
        trained = load_trained(inputs, arguments, start)
        return _run(inputs, trained, arguments, start, listener)


@contextmanager
def _held(output: Path, arguments: TrainingArguments) -> Iterator[None]:
    """Hold the output folder in the main process; the others only check it."""
    if arguments.process_index == 0:
        with hold(output, TRAIN):
            yield
    else:
        ensure_owned_dir(output, TRAIN)
        yield


def _start(output: Path, rows: TrainingData, arguments: TrainingArguments, *, resume: bool) -> Path | None:
    """Return the checkpoint that the run continues from; None to begin. Claims the folder.

    Raises:
        OutputError: The folder has a run in it, and this one does not continue it.
        ConfigError: It began with other settings or rows.
    """
    from sca.train.run.checkpoints import drop_partial, whole_checkpoints

    found, processes = whole_checkpoints(output), arguments.world_size
    if found and not resume:
        raise OutputError(
            f"{output} has a training run in it, with {counted(found[-1].step, 'step')}",
            hint="continue it with --resume, or give another folder",
        )
    if found:
        check_same_run(output, rows, processes)
    with arguments.main_process_first():
        if arguments.process_index == 0:
            drop_partial(output)
            if not found:
                write_record(output, rows, processes)
    return found[-1].folder if found else None


def _run(
    inputs: RunInputs,
    trained: TrainedModel,
    arguments: TrainingArguments,
    start: Path | None,
    listener: TrainListener | None,
) -> TrainSummary:
    from sca.train.evaluation.best import BEST
    from sca.train.evaluation.report import write_report
    from sca.train.run.checkpoints import LAST
    from sca.train.run.log import LogWriter, first_and_last
    from sca.train.run.session import make_trainer, trainable_note
    from sca.train.run.stop import StopRequest

    output, rows = Path(arguments.output_dir), inputs.rows
    resumed_from = None if start is None else int(start.name.rpartition("-")[2])
    main = listener if arguments.process_index == 0 else None
    log, stop = LogWriter(output, main, resumed_from), StopRequest()
    if main is not None:
        main.on_note(trainable_note(trained))
        if start is not None:
            main.on_note(f"continuing from {start}")
    trainer = make_trainer(inputs, trained, arguments, log, stop, main)
    if inputs.settings.train.check:
        _check_once(inputs, trained, trainer, main)
    began = time.monotonic()
    with stop:
        if start is None or not trainer.finish(start):
            trainer.train(resume_from_checkpoint=None if start is None else str(start))
    if arguments.process_index == 0:
        write_report(output)  # without evaluations too
    state: Any = trainer.state
    if state.global_step < state.max_steps:
        stop.end(f"checkpoint-{state.global_step} is saved, and the same command with --resume continues from there")
    return TrainSummary(
        output=output,
        method=inputs.settings.train.method,
        steps=state.global_step,
        made=state.global_step - (resumed_from or 0),
        epochs=float(state.epoch or 0),
        rows=len(rows.train),
        validation_rows=0 if rows.validation is None else len(rows.validation),
        trainable=trained.trainable_count,
        loss=first_and_last(log.losses),
        train_s=round(time.monotonic() - began, 3),
        last=output / LAST,
        resumed_from=resumed_from,
        is_main=arguments.process_index == 0,
        best=output / BEST if (output / BEST).is_dir() else None,
    )


def _check_once(
    inputs: RunInputs, trained: TrainedModel, trainer: ThinkerTrainer, listener: TrainListener | None
) -> None:
    """Check the model in the main process, if it has all weights."""
    from sca.train.run.check import check_loaded

    divided = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if listener is not None and divided:
        listener.on_note("the weights will be divided among processes: check the model with sca train --check in one")
    if not divided and trainer.args.process_index == 0:
        result = check_loaded(inputs, trained)
        if listener is not None:
            listener.on_note(str(result))
