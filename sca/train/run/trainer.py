"""The Trainer of transformers with the loss of duplex rows. It ends a run that cannot go on with one clear error."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - the Trainer requires its base class
from transformers import Trainer, TrainerCallback, TrainerState  # noqa: TID253
from transformers.trainer import TRAINER_STATE_NAME  # noqa: TID253
from typing_extensions import override

from sca.config.sections.train.config import TrainConfig
from sca.errors import InputError, NoMemoryError, writing
from sca.files.atomic import cannot_write
from sca.textutil import counted, first_line
from sca.train.batches.loader import train_loader
from sca.train.model.trained import TrainedModel
from sca.train.objective.loss import DuplexLoss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.utils.data import DataLoader

__all__ = ["ROW_IDS", "RowIds", "ThinkerTrainer"]

ROW_IDS = "row_ids"
"""The ids of the rows of a batch, for messages. The model does not get them."""
_LISTED = 4


class RowIds:
    """A collator that adds the ids of the rows to the batch of another one. Can be pickled to loader workers."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Collate rows."""
        return {**self._collate(rows), ROW_IDS: [row.row_id for row in rows]}


class ThinkerTrainer(Trainer):  # type: ignore[misc]  # transformers has no types here
    """A Trainer whose loss is divided by the sum of weights of all batches and processes of an optimiser step."""

    def __init__(self, trained: TrainedModel, loss: DuplexLoss, train: TrainConfig, **more: Any) -> None:
        """Create the Trainer.

        Args:
            trained: The model.
            loss: The loss.
            train: The settings of the batches.
            **more: Arguments of the Trainer.
        """
        super().__init__(model=trained.learner, compute_loss_func=loss, **more)
        # The thinker's forward takes any argument, and would get the divisor of the loss, which it does not use.
        self.model_accepts_loss_kwargs = False
        self._trained, self._loss, self._train = trained, loss, train
        self._of_step: list[tuple[Tensor, list[str]]] = []
        self.add_callback(_CheckFinite(self))

    def finish(self, checkpoint: Path) -> bool:
        """Do what is left of a run whose last step is done, such as its last evaluation: `train` would make a further step.

        Args:
            checkpoint: The checkpoint that the run continues from.

        Returns:
            Whether its last step is done.
        """
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        if state.global_step < state.max_steps:
            return False
        self.state = state
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # weights are divided only by `train`
            return True
        self._load_from_checkpoint(str(checkpoint))
        state.is_local_process_zero, state.is_world_process_zero = (
            self.is_local_process_zero(),
            self.is_world_process_zero(),
        )
        self.callback_handler.on_train_begin(self.args, state, self.control)
        self.callback_handler.on_train_end(self.args, state, self.control)
        return True

    @override
    def get_train_dataloader(self) -> DataLoader[Any]:
        # The share of this process; accelerate would divide it again.
        args = self.args
        return train_loader(
            self.train_dataset, self.data_collator, self._train, rank=args.process_index, world=args.world_size
        )

    @override
    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor]:
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        total = torch.stack([self._loss.weight_sum(batch["labels"]) for batch in batches]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return batches, total

    @override
    def training_step(
        self, model: Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        rows, tokens = inputs.pop(ROW_IDS, []), inputs["input_ids"].numel()
        try:
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate" not in str(error):
                raise
            raise self._too_large(rows, tokens) from error
        self._of_step.append((loss, rows))
        return loss

    def check_finite(self) -> None:
        """Check the losses of the batches of a step, and its gradients, before they change the weights.

        Raises:
            InputError: One of them is not finite.
        """
        losses, self._of_step = self._of_step, []
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        norm: Any = torch.nn.utils.get_total_norm(gradients)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of FSDP
        # One wait for the device in a step.
        numbers = torch.stack([*(loss.float() for loss, _ in losses), norm.float()]).tolist()
        for number, (_, rows) in zip(numbers, losses, strict=False):
            if not math.isfinite(number):
                raise self._not_finite("loss", number, rows)
        if not math.isfinite(numbers[-1]):
            raise self._not_finite("norm of the gradient", numbers[-1], [one for _, rows in losses for one in rows])

    def _not_finite(self, what: str, number: float, rows: Sequence[str]) -> InputError:
        return InputError(
            f"the {what} is {number} in step {self.state.global_step + 1}, in a batch of {counted(len(rows), 'row')}: "
            f"{_listed(rows)}",
            hint="look at these rows with sca inspect, or lower train.learning_rate; the last checkpoint is whole, and "
            "--resume continues from it",
        )

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs.update(self._loss.pop_by_kind())
        super().log(logs, start_time)

    @override
    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        # `save_model` gathers weights that are divided among processes and calls this method to write them.
        self._trained.save(Path(output_dir or self.args.output_dir), state_dict)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Module | None = None) -> None:
        # A whole model was loaded from the checkpoint already. The Trainer would look for its weights by the names in
        # memory, which are not those in files, and only warn about what it does not find.
        if self._trained.whole is None or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    @override
    def _save_checkpoint(self, model: Module, trial: Any) -> None:
        # The Trainer has no public method around all files of a checkpoint.
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with _saving(folder):
            super()._save_checkpoint(model, trial)

    def _too_large(self, rows: Sequence[str], tokens: int) -> NoMemoryError:
        return NoMemoryError(
            f"a batch of {counted(len(rows), 'row')} with {tokens} tokens does not fit into memory: {_listed(rows)}",
            hint="lower train.batch_size or train.batch_tokens, set train.gradient_checkpointing to true, or build rows "
            "with a shorter --window",
        )


class _CheckFinite(TrainerCallback):  # type: ignore[misc]
    """Calls `ThinkerTrainer.check_finite` before every optimiser step."""

    def __init__(self, trainer: ThinkerTrainer) -> None:
        self._trainer = trainer

    @override
    def on_pre_optimizer_step(self, *passed: Any, **more: Any) -> None:
        self._trainer.check_finite()


def _listed(rows: Sequence[str]) -> str:
    return f"{', '.join(rows[:_LISTED])}{', …' if len(rows) > _LISTED else ''}"


@contextmanager
def _saving(folder: Path) -> Iterator[None]:
    """Convert the errors of a checkpoint that cannot be saved, and remove what was saved of it."""
    try:
        with writing(folder):
            yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)  # it may be what fills the disk
        # torch reports a failed write as a RuntimeError, safetensors with an exception of its own.
        if isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError":
            raise cannot_write(folder, Exception(first_line(error))) from error
        raise
