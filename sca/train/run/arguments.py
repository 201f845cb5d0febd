"""The arguments of the Trainer, from the settings."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.config.sections.train.config import TrainConfig
from sca.distribution import install_packages
from sca.errors import ConfigError, MissingToolError
from sca.textutil import first_line

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["check_trackers", "training_arguments"]

_NEVER = 2**31 - 1  # steps; the Trainer does not take infinity
_DEVICES = ("auto", "cpu", "cuda")


def training_arguments(output: Path, settings: Settings) -> TrainingArguments:
    """Return the arguments of the Trainer.

    Args:
        output: The folder of the checkpoints.
        settings: `train`, and the device and number format in `qwen`.

    Raises:
        ConfigError: The optimiser, the scheduler or the device does not exist, or `train.deepspeed` cannot be used.
        MissingToolError: DeepSpeed, or the package of an optimiser or a tracker, is not installed.
    """
    from transformers import SchedulerType, TrainingArguments
    from transformers.training_args import OptimizerNames

    train, qwen = settings.train, settings.qwen
    _check_name("train.scheduler", train.scheduler, [one.value for one in SchedulerType])
    _check_name("train.optimizer", train.optimizer, [one.value for one in OptimizerNames])
    _check_name("qwen.device_map", qwen.device_map, _DEVICES, " for sca train")
    check_trackers(train)
    return TrainingArguments(
        str(output),
        use_cpu=qwen.device_map == "cpu",
        # Weights that are trained in full are float32, and computed with in bfloat16. An adapter is float32 beside
        # frozen bfloat16 weights, as in the live engine.
        bf16=train.method == "full" and qwen.torch_dtype == "bfloat16",
        max_steps=train.max_steps or -1,
        num_train_epochs=train.epochs,
        learning_rate=train.learning_rate,
        warmup_steps=train.warmup,
        lr_scheduler_type=train.scheduler,
        optim=train.optimizer,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.accumulation,
        gradient_checkpointing=train.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if train.gradient_checkpointing else None,
        ddp_find_unused_parameters=False,  # each step uses all weights that are trained
        seed=train.seed,
        logging_steps=train.log_every,
        logging_nan_inf_filter=False,  # a loss that is not finite ends the run
        save_steps=train.save_every or _NEVER,
        report_to=[] if train.trackers == "none" else train.trackers.split(","),
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        deepspeed=_deepspeed(train.deepspeed, on_cpu=qwen.device_map == "cpu"),
    )


def check_trackers(train: TrainConfig) -> None:
    """Check that the packages of the trackers are installed.

    Args:
        train: The settings.

    Raises:
        MissingToolError: One of them is not installed.
    """
    names = [] if train.trackers == "none" else train.trackers.split(",")
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingToolError(
            f"train.trackers has {' and '.join(missing)}, which is not installed", hint=install_packages(*missing)
        )


def _deepspeed(path: Path | None, *, on_cpu: bool) -> dict[str, object] | None:
    """Return the configuration of DeepSpeed; None without one.

    Raises:
        ConfigError: The file is not a JSON object, or the training runs on a CPU.
        MissingToolError: DeepSpeed is not installed.
    """
    if path is None:
        return None
    if on_cpu:  # accelerate would train without it
        raise ConfigError("train.deepspeed needs GPUs, and qwen.device_map is cpu", hint="leave out one of them")
    if find_spec("deepspeed") is None:
        raise MissingToolError(
            "train.deepspeed needs deepspeed, which is not installed", hint=install_packages("deepspeed")
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"train.deepspeed: {path} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"train.deepspeed: {path} is not a JSON object")
    return found


def _check_name(setting: str, name: str, names: list[str] | tuple[str, ...], where: str = "") -> None:
    if name not in names:
        raise ConfigError(f"{setting} is {name}, which does not exist{where}", hint=f"one of {', '.join(names)}")
