"""What a run begins with: the rows, and the model without its weights, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.infer.engines.qwen_omni.loading.requirements import check_installed
from sca.tokenizer import TextTokenizer, load_tokenizer
from sca.train.run.data import TrainingData, check_model, open_data
from sca.train.talker.codec import check_talker

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from sca.train.batches.collate import TrainCollator

__all__ = ["RunInputs", "open_inputs"]


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The rows and the model of a run.

    Attributes:
        rows: The rows, with the settings of the run.
        tokenizer: The tokenizer of the model.
        config: The configuration of the whole checkpoint.
    """

    rows: TrainingData
    tokenizer: TextTokenizer
    config: PretrainedConfig

    @property
    def settings(self) -> Settings:
        """The settings of the run; `audio` and `duplex` are those of the rows."""
        return self.rows.settings

    @property
    def collate(self) -> TrainCollator:
        """What makes the batches."""
        from sca.train.batches.collate import TrainCollator

        return TrainCollator(self.tokenizer, self.settings.train, self.rows.train.grammar)


def open_inputs(data: str | Path, settings: Settings) -> RunInputs:
    """Open the rows and the configuration of the model.

    Args:
        data: The data set: a folder or a URL, see `sca.load`.
        settings: The settings of the run.

    Raises:
        MissingToolError: A package of the extra train is not installed.
        InputError: The data set or the model cannot be used.
        ConfigError: The settings, the rows and the model do not fit each other.
        UpstreamError: A URL cannot be read, or the hub does not provide the model.
    """
    check_installed("torch", "transformers", "accelerate", "peft", needed_by="sca train", extra="train")
    from sca.train.model.load import model_config
    from sca.train.model.parts import chosen_parts

    rows = open_data(data, settings)
    check_talker(rows.settings)
    qwen = rows.settings.qwen
    # First, because they are small: an unreachable hub is reported within seconds.
    tokenizer = load_tokenizer(qwen.model_id, revision=qwen.model_revision)
    config = model_config(qwen)
    check_model(data, rows, tokenizer, config)
    train = rows.settings.train
    chosen_parts(train.method, train.targets)
    return RunInputs(rows, tokenizer, config)
