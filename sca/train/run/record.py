"""What a run was started with: `.sca/train.json` in its folder, and `train.toml` beside each checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings, known_keys
from sca.config.describe import toml_value
from sca.config.sections.train.evaluation import EvaluationFields
from sca.config.trained_format import TrainedFormat
from sca.data.runs.files import read_json, write_json
from sca.data.runs.owner import TRAIN
from sca.errors import ConfigError, InputError

if TYPE_CHECKING:
    from sca.train.run.data import TrainingData

__all__ = ["CONFIG_FILE", "check_same_run", "run_toml", "write_record"]

CONFIG_FILE = "train.toml"
"""The settings of a run beside its weights."""
_MODEL = ("model_id", "revision", "torch_dtype", "attn_implementation", "conditioning")
_FREE = frozenset({"save_every", "keep", "log_every", "trackers", "workers", *EvaluationFields.model_fields})
"""Settings of `train` that do not decide the weights, and may change when a run continues; `workers` only if all rows are mixed."""


def write_record(output: Path, rows: TrainingData, processes: int) -> None:
    """Write what a run begins with.

    Args:
        output: The output folder, which is held.
        rows: Its rows, with the settings of the run.
        processes: Number of processes that train together.
    """
    write_json(output / TRAIN.marker, _record(rows, processes))


def check_same_run(output: Path, rows: TrainingData, processes: int) -> None:
    """Check that a run continues with what it began with.

    Args:
        output: The output folder.
        rows: Its rows, with the settings of the run.
        processes: Number of processes that train together.

    Raises:
        ConfigError: A setting differs that decides the weights, or the rows differ.
        InputError: What it began with cannot be read.
    """
    path, wanted = output / TRAIN.marker, _record(rows, processes)
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise InputError(
            f"{path} is damaged", hint="begin a new run in another folder, with train.adapter set to its last"
        )
    before, now = found["settings"], wanted["settings"]
    assert isinstance(now, dict)
    different = [
        f"{name} {_shown(before.get(name))} (now {_shown(now.get(name))})"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if different:
        raise ConfigError(
            f"the run in {output} began with {', '.join(different)}",
            hint="continue with the same settings, or begin a new run in another folder: with train.adapter set to "
            f"{output / 'last'} it starts from these weights",
        )
    if found.get("rows") != wanted["rows"]:
        raise ConfigError(
            f"the run in {output} began with other rows",
            hint="continue with the same data set, or begin a new run in another folder",
        )


def run_toml(settings: Settings, trained: TrainedFormat) -> str:
    """Return the settings of a run as a file for `--config`: those of training, of the model, and of the rows.

    Args:
        settings: The settings.
        trained: The format of the rows.
    """
    values = {f"train.{name}": value for name, value in settings.train.model_dump(mode="json").items()}
    values |= {f"qwen.{name}": getattr(settings.qwen, name) for name in _MODEL}
    rows = trained.model_dump(mode="json", exclude={"schema_name", "conditioning"})
    keys = {key.name for key in known_keys()}
    values |= {
        next(full for full in (f"audio.{name}", f"duplex.{name}") if full in keys): value
        for name, value in rows.items()
    }
    lines = [
        "# The settings of a training run, written by sca train. `sca train --config` and `sca live --config` read it."
    ]
    for section in dict.fromkeys(name.partition(".")[0] for name in values):
        lines += ["", f"[{section}]"]
        for name, value in values.items():
            if name.startswith(f"{section}.") and value is not None:
                lines.append(f"{name.partition('.')[2]} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def _record(rows: TrainingData, processes: int) -> dict[str, object]:
    from sca.train.batches.loader import mixed_sessions

    settings = rows.settings
    # Processes that read session by session decide the order of the rows.
    free = _FREE - {"workers"} if mixed_sessions(rows.train, settings.train) else _FREE
    train = settings.train.model_dump(mode="json", exclude=set(free))
    values = {f"train.{name}": value for name, value in train.items()}
    values |= {f"qwen.{name}": getattr(settings.qwen, name) for name in _MODEL}
    return {
        "made_by": TRAIN.command,
        "settings": {**values, "processes": processes},
        "rows": rows.identity,
    }


def _shown(value: object) -> str:
    return "not set" if value is None else toml_value(value)
