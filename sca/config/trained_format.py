"""`duplex.json`: the settings of the rows that a model was trained on, beside its weights or its adapter.

A trainer writes the file with `write_trained_format`; the live engine compares it with its settings. A model that was
trained on another grid or with another silence token would answer without an error, but badly.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.config import Settings
from sca.errors import ConfigError, InputError
from sca.files.atomic import atomic_write
from sca.textutil import first_line

__all__ = [
    "FORMAT_FILE",
    "TrainedFormat",
    "check_trained_format",
    "different_settings",
    "read_trained_format",
    "trained_format",
    "write_format",
    "write_trained_format",
]

FORMAT_FILE = "duplex.json"
_ROWS = "settings.json"
_AUDIO = ("frame_hz", "frames_per_chunk")
_DUPLEX = (
    "text_tokens_per_chunk",
    "silence_token_id",
    "hold_id",
    "start_id",
    "stop_id",
    "backchannel_id",
    "lead_chunks",
    "system_prompt",
)
_PROMPT = "duplex.system_prompt"
_SHOWN = 60


class TrainedFormat(BaseModel):
    """The content of `duplex.json`. The names are those of the settings.

    Attributes:
        conditioning: The input of the talker for a text token, as in `qwen.conditioning`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_name: Literal["sca.duplex_format/1"] = Field("sca.duplex_format/1", alias="schema")
    frame_hz: float = Field(gt=0, allow_inf_nan=False)
    frames_per_chunk: int = Field(ge=1)
    text_tokens_per_chunk: int = Field(ge=1)
    silence_token_id: int = Field(ge=0)
    hold_id: int | None = None
    start_id: int | None = None
    stop_id: int | None = None
    backchannel_id: int | None = None
    lead_chunks: int = Field(ge=0)
    system_prompt: str
    conditioning: str = "embed"


def trained_format(settings: Settings, *, conditioning: str = "embed") -> TrainedFormat:
    """Return the format of rows.

    Args:
        settings: The settings that the rows were built with.
        conditioning: The input of the talker in training: `embed`, or `hidden:N`.
    """
    values = {name: getattr(settings.audio, name) for name in _AUDIO}
    values |= {name: getattr(settings.duplex, name) for name in _DUPLEX}
    return TrainedFormat.model_validate(values | {"conditioning": conditioning})


def write_format(folder: Path, trained: TrainedFormat) -> Path:
    """Write `duplex.json` to a folder, and return its path."""
    path = folder / FORMAT_FILE
    with atomic_write(path) as temporary:
        temporary.write_text(trained.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
    return path


def write_trained_format(folder: str | Path, data: str | Path, *, conditioning: str = "embed") -> Path:
    """Write `duplex.json` for a model that was trained on a data set.

    Args:
        folder: The folder of the adapter or model.
        data: The data set of `sca build-duplex`; its `settings.json` is read.
        conditioning: The input of the talker in training: `embed`, or `hidden:N`.

    Returns:
        The path of the file.

    Raises:
        InputError: The data set does not have valid settings.
    """
    source = Path(data) / _ROWS
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
        values = {name: document["audio"][name] for name in _AUDIO}
        values |= {name: document["duplex"].get(name) for name in _DUPLEX}
        trained = TrainedFormat.model_validate(values | {"conditioning": conditioning})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{source} cannot be used: {first_line(error)}", hint="give a data set that sca build-duplex wrote"
        ) from error
    return write_format(Path(folder), trained)


def read_trained_format(folder: Path) -> TrainedFormat | None:
    """Read `duplex.json`; None if the folder does not have it.

    Raises:
        InputError: The file cannot be read.
    """
    path = folder / FORMAT_FILE
    try:
        return TrainedFormat.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(f"{path} is not valid: {where}: {error.errors()[0]['msg']}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def check_trained_format(folder: Path, trained: TrainedFormat, settings: Settings) -> None:
    """Compare the settings with those that a model was trained with.

    Args:
        folder: The folder of the file, for the message.
        trained: Its content.
        settings: The settings of the session.

    Raises:
        ConfigError: They differ. The prompt may differ if `qwen.any_prompt` is set.
    """
    different = different_settings(trained, settings)
    if settings.qwen.any_prompt:
        different.pop(_PROMPT, None)
    if not different:
        return
    listed = ", ".join(different.values())
    only_prompt = [*different] == [_PROMPT]
    raise ConfigError(
        f"the model in {folder} was trained with {listed}",
        hint=f"set {', '.join(different)} as in {folder / FORMAT_FILE}"
        + (", or qwen.any_prompt=true to use another prompt" if only_prompt else ""),
    )


def different_settings(trained: TrainedFormat, settings: Settings) -> dict[str, str]:
    """Return the settings that differ from those of a format, by name: `NAME OLD (now NEW)`.

    Args:
        trained: The format.
        settings: The settings.
    """
    sections = dict.fromkeys(_AUDIO, "audio") | dict.fromkeys(_DUPLEX, "duplex") | {"conditioning": "qwen"}
    different = {}
    for name, section in sections.items():
        now, then = getattr(getattr(settings, section), name), getattr(trained, name)
        if now != then:
            full = f"{section}.{name}"
            different[full] = f"{full} {_shown(then)} (now {_shown(now)})"
    return different


def _shown(value: object) -> str:
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f'{text[: _SHOWN - 2]}…"'
