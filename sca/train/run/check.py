"""The check of a model before its training, alone or at the start of a run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.train.run.inputs import RunInputs, open_inputs

if TYPE_CHECKING:
    from sca.train.check.run import CheckResult
    from sca.train.model.trained import TrainedModel

__all__ = ["check", "check_loaded"]

_MOST_ROWS = 16
"""Rows in which the check looks for one with text and silence."""


def check(data: str | Path, settings: Settings) -> CheckResult:
    """Check, without training, that a batch does not contain the future, and that the live loop computes its logits.

    Args:
        data: The data set: a folder or a URL, see `sca.load`.
        settings: The settings of the run.

    Returns:
        What was measured.

    Raises:
        ScaError: See `sca.train.run.run.train`.
        ConfigError: The model fails the check.
    """
    inputs = open_inputs(data, settings)
    from sca.train.run.arguments import training_arguments
    from sca.train.run.weights import load_trained

    with TemporaryDirectory() as output:
        return check_loaded(inputs, load_trained(inputs, training_arguments(Path(output), inputs.settings)))


def check_loaded(inputs: RunInputs, trained: TrainedModel) -> CheckResult:
    """Check a model with its weights, see `check`.

    Args:
        inputs: The rows and the settings.
        trained: The model.
    """
    from sca.train.check.run import check_training

    rows = inputs.rows.train[: min(len(inputs.rows.train), _MOST_ROWS)]
    return check_training(trained, rows, inputs.collate, inputs.settings.qwen.attn_implementation)
