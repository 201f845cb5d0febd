"""The Trainer of a run, with everything that takes part in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config.trained_format import write_format
from sca.data.duplex.load.dataset import DuplexDataset
from sca.textutil import counted
from sca.train.run.checkpoints import CheckpointKeeper
from sca.train.run.hub import CARD, model_card
from sca.train.run.inputs import RunInputs
from sca.train.run.log import LogWriter
from sca.train.run.record import CONFIG_FILE, run_toml
from sca.train.run.stop import StopAfterStep, StopRequest
from sca.train.run.summary import TrainListener

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from sca.train.model.trained import TrainedModel
    from sca.train.run.trainer import ThinkerTrainer

__all__ = ["evaluation_rows", "make_trainer", "trainable_note"]


def evaluation_rows(inputs: RunInputs, listener: TrainListener | None) -> DuplexDataset | None:
    """Return the rows of the evaluations; None if there are none, which is reported.

    Args:
        inputs: The rows of the run.
        listener: Receives the report.
    """
    train, rows = inputs.settings.train, inputs.rows
    if not train.eval_every:
        return None
    if train.eval_split == "train":
        return rows.train
    if rows.validation is None and listener is not None:
        listener.on_note(
            "the data set has no rows in a split validation: nothing is evaluated, and there is no best checkpoint. Build it "
            "with duplex.validation, or set train.eval_split=train"
        )
    return rows.validation


def make_trainer(
    inputs: RunInputs,
    trained: TrainedModel,
    arguments: TrainingArguments,
    log: LogWriter,
    stop: StopRequest,
    listener: TrainListener | None,
) -> ThinkerTrainer:
    """Return the Trainer with its callbacks.

    Args:
        inputs: The rows and the settings.
        trained: The model.
        arguments: The arguments of the Trainer.
        log: Writes the log.
        stop: Receives signals.
        listener: Receives what the run reports.
    """
    from transformers import PrinterCallback

    from sca.train.objective.label_logits import logits_at_labels
    from sca.train.objective.loss import DuplexLoss, kind_weights
    from sca.train.run.trainer import RowIds, ThinkerTrainer

    settings, rows = inputs.settings, inputs.rows
    logits_at_labels(trained.thinker)
    trainer = ThinkerTrainer(
        trained,
        DuplexLoss(kind_weights(settings.train)),
        settings.train,
        args=arguments,
        train_dataset=rows.train,
        data_collator=RowIds(inputs.collate),
    )
    trainer.remove_callback(PrinterCallback)  # prints Python dicts on stdout
    held_out = evaluation_rows(inputs, listener if arguments.process_index == 0 else None)
    add_files = partial(_add_files, inputs, run_toml(settings, rows.format))
    if held_out is not None:
        trainer.add_callback(_evaluation(inputs, trained, held_out, trainer, add_files))
    for callback in (log, StopAfterStep(stop), CheckpointKeeper(add_files, settings.train.keep)):
        trainer.add_callback(callback)
    return trainer


def _add_files(inputs: RunInputs, toml: str, folder: Path, step: int) -> None:
    """Write what belongs beside weights: the format of the rows, the settings, and the card."""
    write_format(folder, inputs.rows.format)
    (folder / CONFIG_FILE).write_text(toml, encoding="utf-8")
    (folder / CARD).write_text(model_card(inputs.settings, inputs.rows.train, step), encoding="utf-8")


def _evaluation(
    inputs: RunInputs,
    trained: TrainedModel,
    held_out: DuplexDataset,
    trainer: ThinkerTrainer,
    add_files: Callable[[Path, int], None],
) -> object:
    """Return the callback that evaluates, logs the metrics, and keeps the best weights."""
    from sca.train.evaluation.callback import EvaluationCallback
    from sca.train.evaluation.evaluate import Evaluator

    def save(folder: Path) -> None:
        trainer.save_model(str(folder))
        if trainer.args.should_save:
            add_files(folder, trainer.state.global_step)

    output = Path(trainer.args.output_dir)
    evaluator = Evaluator(trained, held_out, inputs.collate, inputs.settings, output)
    callback = EvaluationCallback(evaluator, inputs.settings.train, output, save)
    callback.log_metrics = trainer.log
    return callback


def trainable_note(trained: TrainedModel) -> str:
    """Return the line about what is trained: the number of weights, and the parts with their parameters."""
    counts: dict[str, int] = {}
    for name in trained.trainable:
        part = trained.part_of(name)
        counts[part] = counts.get(part, 0) + 1
    parts = ", ".join(f"{part} ({counted(number, 'parameter')})" for part, number in counts.items())
    return f"training {trained.trainable_count:,} weights: {parts}"
