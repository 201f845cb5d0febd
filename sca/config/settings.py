"""Settings, and where each value came from: command line > `SCA_*` environment > TOML file > the models' defaults.

A new subsystem adds a module with its model, such as `sca/config/sections/live.py`, and a field to `Settings`; its TOML section, its
environment names, its printed documentation and the check of spelling follow from that. No other module reads the environment.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, TypeAdapter, ValidationError

from sca.config.describe import expected, problems_of, raise_for
from sca.config.loaders import Given, Key, Problem, from_environment, from_file, from_overrides, unknown
from sca.config.sections.audio import AudioConfig
from sca.config.sections.augment import AugmentConfig
from sca.config.sections.base import Env
from sca.config.sections.convert import ConvertConfig
from sca.config.sections.duplex import DuplexConfig
from sca.config.sections.live import LiveConfig
from sca.config.sections.paths import PathsConfig
from sca.config.sections.qwen import QwenConfig
from sca.config.sections.serve import ServeConfig
from sca.config.sections.turn import TurnConfig
from sca.config.sections.vllm import VllmConfig
from sca.errors import ConfigError, GridError, UsageError
from sca.units import Grid

__all__ = ["RESERVED_ENV", "TURN_ENV", "Settings", "apply_preset", "known_keys", "load_settings", "parse_set"]

CONFIG_ENV = "SCA_CONFIG"
RESERVED_ENV = (CONFIG_ENV,)
"""Variables that begin with SCA_ and are no setting. SCA_CONFIG names the TOML file when `--config` does not."""

TURN_ENV = {
    name: f"turn.{name.lower()}"
    for name in (
        "AUTH_KEY",
        "BATCH_BUCKETS",
        "CUDA_GRAPHS",
        "DTYPE",
        "MAX_SECS",
        "MICRO_BATCH_WINDOW_MS",
        "MODEL_ID",
        "THRESHOLD",
        "TORCH_COMPILE",
    )
}
"""Variables without a prefix that users of turn servers know, and their settings. Read for `sca turn` only."""


class Settings(BaseModel):
    """Every setting, by subsystem. `Settings()` is the defaults; `load_settings` reads what the user gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: AudioConfig = AudioConfig()
    qwen: QwenConfig = QwenConfig()
    vllm: VllmConfig = VllmConfig()
    duplex: DuplexConfig = DuplexConfig()
    augment: AugmentConfig = AugmentConfig()
    convert: ConvertConfig = ConvertConfig()
    live: LiveConfig = LiveConfig()
    turn: TurnConfig = TurnConfig()
    serve: ServeConfig = ServeConfig()
    paths: PathsConfig = PathsConfig()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """Frames and chunks, exact."""
        return self.audio.grid

    def origin(self, name: str) -> str:
        """Where a setting came from: `default`, `file PATH`, `environment SCA_X` or `command line`."""
        self.value(name)
        return self._origins.get(name, "default")

    def value(self, name: str) -> Any:
        """A setting by its dotted name."""
        section, _, field = name.partition(".")
        if section not in Settings.model_fields or field not in type(getattr(self, section)).model_fields:
            problem = unknown("settings", name, (key.name for key in known_keys()))
            raise ConfigError(problem.text, hint=problem.hint)
        return getattr(getattr(self, section), field)


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type)
        assert issubclass(info.annotation, BaseModel)
        yield name, info.annotation


def known_keys() -> Iterator[Key]:
    """Every setting, in the order of the models."""
    for section, model in _sections():
        for field, info in model.model_fields.items():
            marked = [mark.name for mark in info.metadata if isinstance(mark, Env)]
            yield Key(
                name=f"{section}.{field}",
                env=marked[0] if marked else f"SCA_{section}_{field}".upper(),
                default=info.default,
                description=info.description or "",
                expected=expected(info),
                optional=NoneType in get_args(info.annotation),
            )


def load_settings(
    config_file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    plain_env: Mapping[str, str] | None = None,
) -> Settings:
    """Merge all sources. Raises one `ConfigError` that lists all that is wrong, a `GridError` if that is only the grid.

    overrides: from the command line, by dotted name; text is read as the environment's would be, None is "not given".
    env: instead of the process's environment.
    plain_env: variables without our prefix and the settings they stand for, such as `TURN_ENV`; those with it beat them.
    """
    env = os.environ if env is None else env
    keys = {key.name: key for key in known_keys()}
    if config_file is None and env.get(CONFIG_ENV):
        config_file = Path(env[CONFIG_ENV])
    layers = [_user_folders(env)]
    if config_file is not None:
        layers.append(from_file(config_file, keys))
    layers.append(_plain_environment(env, plain_env or {}))
    layers += [from_environment(env, keys, RESERVED_ENV), from_overrides(overrides or {}, keys)]

    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for values, complaints in layers:
        given |= values
        problems += complaints
    sections = {name: _section(name, model, given, keys, problems) for name, model in _sections()}
    raise_for(problems)
    settings = Settings(**sections)
    settings._origins.update({name: value.origin for name, value in given.items()})
    return settings


def _user_folders(env: Mapping[str, str]) -> tuple[dict[str, Given], list[Problem]]:
    # The XDG base directory specification says to ignore a relative path.
    folder = Path(env.get("XDG_CACHE_HOME", ""))
    if not folder.is_absolute():
        return {}, []
    return {"paths.cache_dir": Given(folder / "sca", "environment XDG_CACHE_HOME", is_text=False)}, []


def _plain_environment(env: Mapping[str, str], names: Mapping[str, str]) -> tuple[dict[str, Given], list[Problem]]:
    given = {
        setting: Given(env[name], f"environment {name}", is_text=True)
        for name, setting in names.items()
        if env.get(name)
    }
    return given, []


def _section(
    name: str, model: type[BaseModel], given: Mapping[str, Given], keys: dict[str, Key], problems: list[Problem]
) -> BaseModel:
    """A section's model from what was given; complaints are added to `problems`, and then the defaults stand in."""
    values = {}
    origins = {key.name: given[key.name].origin for key in keys.values() if key.section == name and key.name in given}
    for full in origins:
        key, one = keys[full], given[full]
        try:
            values[key.field] = _from_text(one.value, key, model) if one.is_text else one.value
        except ValidationError as error:
            problems.append(Problem(f"{one.origin}: {full} should be {key.expected}, got {one.value!r}", None, error))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += problems_of(error, name, origins, keys)
    except GridError as error:
        where = ", ".join(f"{full} from {origin}" for full, origin in origins.items())
        problems.append(Problem(f"{error.message} ({where})", error.hint, error))
    return model()


def _from_text(text: str, key: Key, model: type[BaseModel]) -> Any:
    """What a text means for a field: `none` for one that may be empty, else a number, a path or the text itself."""
    if key.optional and text.strip().lower() in ("", "none"):
        return None
    kind: Any = model.model_fields[key.field].annotation
    return TypeAdapter(kind).validate_python(text)


def apply_preset(preset: str) -> dict[str, object]:
    """The settings a preset such as `8x4` stands for: audio tokens heard × text tokens spoken per chunk."""
    found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", preset)
    if not found:
        message = f"--preset should be AUDIOxTEXT, the tokens heard and spoken per chunk, got {preset!r}"
        raise ConfigError(message, hint="such as 4x2 or 8x4")
    heard, spoken = int(found[1]), int(found[2])
    return {
        "audio.frames_per_chunk": heard,
        "duplex.text_tokens_per_chunk": spoken,
        "qwen.max_new_tokens": spoken,
    }


def parse_set(pairs: Sequence[str]) -> dict[str, str]:
    """`--set key=value` options as overrides; a later one wins."""
    overrides = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set should be KEY=VALUE, got {pair!r}", hint="such as --set duplex.lead_chunks=0")
        overrides[name.strip()] = value
    return overrides
