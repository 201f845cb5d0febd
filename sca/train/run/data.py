"""The rows of a training run, checked against the model before its weights are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.config.trained_format import TrainedFormat, different_settings, read_trained_format, trained_format
from sca.data.datasets.folder import DataFolder
from sca.data.duplex.load.dataset import DuplexDataset
from sca.data.duplex.load.sources import read_build_settings, split_names
from sca.data.duplex.storage.build_settings import settings_of
from sca.errors import ConfigError, InputError
from sca.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["TrainingData", "check_model", "open_data"]

_MEL_BINS = 128
_COMPARED = ("audio.", "duplex.")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The rows of a data set.

    Attributes:
        train: The rows of the split `train`.
        validation: Those of the split `validation`; None if the data set has none.
        settings: The settings of the run, with `audio` and `duplex` as the rows were built.
        format: What `duplex.json` beside the trained weights contains.
        tokenizer: Name and fingerprint of the tokenizer of the rows.
        identity: SHA-256 of the settings and the names of the sessions, for a run that continues.
    """

    train: DuplexDataset
    validation: DuplexDataset | None
    settings: Settings
    format: TrainedFormat
    tokenizer: tuple[str, str]
    identity: str


def open_data(path: str | Path, settings: Settings) -> TrainingData:
    """Open the splits of a data set, of an export to Parquet or WebDataset, or of their copy at a URL.

    Args:
        path: The folder or URL, see `sca.load`.
        settings: The settings of the run.

    Returns:
        The rows.

    Raises:
        InputError: `path` is not a duplex data set, or does not have a row to train on.
        ConfigError: A setting was given that is not the one that the rows were built with.
        UpstreamError: The URL cannot be read.
    """
    folder = DataFolder(path)
    document = read_build_settings(folder)
    built = settings_of(document)
    trained = trained_format(built, conditioning=settings.qwen.conditioning)
    _check_given(folder, trained, settings)
    splits = split_names(folder)
    if "train" not in splits:
        raise InputError(f"{folder} has no split train", hint=f"its splits: {', '.join(splits) or 'none'}")
    train = DuplexDataset(folder, "train")
    if not len(train):
        raise InputError(f"{folder} has no rows in its split train", hint="its report.html says why rows are missing")
    validation = DuplexDataset(folder, "validation") if "validation" in splits else None
    digest = hashlib.sha256(json.dumps([document, train.sessions], sort_keys=True).encode())
    return TrainingData(
        train,
        validation if validation is not None and len(validation) else None,
        settings.model_copy(update={"audio": built.audio, "duplex": built.duplex}),
        trained,
        _tokenizer_of(document),
        digest.hexdigest(),
    )


def check_model(path: str | Path, data: TrainingData, tokenizer: TextTokenizer, config: PretrainedConfig) -> None:
    """Check that a model can be trained on rows. Needs no weights.

    Args:
        path: The data set, for messages.
        data: Its rows.
        tokenizer: The tokenizer of the model.
        config: The configuration of the model.

    Raises:
        ConfigError: The model has another tokenizer, or was trained on another grid, or does not have the audio tokens.
    """
    model, train = data.settings.qwen.model_id, data.settings.train
    name, fingerprint = data.tokenizer
    if fingerprint != tokenizer.fingerprint:
        raise ConfigError(
            f"the rows of {path} were built with the tokenizer {name}, and {model} has another one",
            hint=f"build them again with --model-path {model}",
        )
    thinker = config.thinker_config
    if thinker.audio_token_id != tokenizer.token_to_id("<|audio_pad|>"):
        raise ConfigError(
            f"{model} does not use <|audio_pad|> for audio: its audio_token_id is {thinker.audio_token_id}"
        )
    if thinker.audio_config.num_mel_bins != _MEL_BINS:
        raise ConfigError(f"{model} has {thinker.audio_config.num_mel_bins} mel bins, the rows have {_MEL_BINS}")
    for folder in (model, train.adapter):
        before = None if folder is None else read_trained_format(Path(folder).expanduser())
        different = {} if before is None else different_settings(before, data.settings)
        different = {key: text for key, text in different.items() if key.startswith(_COMPARED)}
        if different:
            raise ConfigError(
                f"{folder} was trained on other rows than those of {path}: {', '.join(different.values())}",
                hint="train on rows of the same grid, token ids and prompt, or begin with a model that was not trained on rows",
            )


def _check_given(folder: DataFolder, trained: TrainedFormat, settings: Settings) -> None:
    """Refuse a setting that a person gave and that the rows contradict. Settings with a default follow the rows."""
    different = different_settings(trained, settings)
    given = [text for name, text in different.items() if settings.origin(name) != "default"]
    if given:
        raise ConfigError(
            f"the rows of {folder} were built with {', '.join(given)}",
            hint="leave these settings out: a training run takes them from the rows",
        )


def _tokenizer_of(document: dict[str, object]) -> tuple[str, str]:
    found = document.get("tokenizer")
    if not isinstance(found, dict) or not {"name", "fingerprint"} <= found.keys():
        raise InputError("the settings.json of the data set does not name its tokenizer", hint="build it again")
    return str(found["name"]), str(found["fingerprint"])
